"""Work for a request that ends with it: whoever goes away leaves nothing running."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import Request

from relevo.errors import StoreUnavailable

R = TypeVar("R")
LOOK_S: Final = 0.25


async def while_waited_for(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """The result of ``work``, which is cancelled when the client has gone. Raises what it raises.

    The body of the request must have been read.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait([task], timeout=LOOK_S))[0]:
            if await request.is_disconnected():
                task.cancel()
                await asyncio.wait([task])
                # For the log alone: nobody is left to read it.
                raise StoreUnavailable("whoever asked has gone")
        return await task
    finally:
        task.cancel()
