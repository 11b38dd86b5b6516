"""``/api/v1/devices/{id}/raw``: a device's messages as they come and go, while somebody looks."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from relevo.domain.accounts import Identity
from relevo.domain.grants import Right
from relevo.http.needs import MayControl
from relevo.http.services import Services, Wired
from relevo.raw import Watcher
from relevo.wire import sse

router = APIRouter(prefix="/api/v1", tags=["devices"])

_encode: Final = msgspec.json.Encoder().encode


@router.get(
    "/devices/{device_id}/raw",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def raw(wired: Wired, held: MayControl) -> Response:
    """Server-sent events `message`: what the device sends and gets over MQTT and HTTP from now on.

    `gap` says how many were lost by who is too slow.
    """
    watcher = wired.raw.watch(held.device.id)
    return StreamingResponse(
        _frames(wired, held.identity, watcher),
        media_type=sse.MEDIA_TYPE,
        headers=sse.HEADERS,
    )


async def _frames(wired: Services, identity: Identity, watcher: Watcher) -> AsyncIterator[bytes]:
    try:
        yield sse.retry(2_000)
        silent = 0
        while wired.auth.people.good(identity) and wired.auth.may(identity, watcher.device, Right.CONTROL):
            found, missed = await watcher.take(sse.LOOK_S)
            if not found:
                silent += 1
                if sign := sse.awake(silent):
                    yield sign
                continue
            if not wired.auth.may(identity, watcher.device, Right.CONTROL):
                return
            if missed:
                yield sse.frame(_encode({"missed": missed}), "gap")
            yield b"".join(sse.frame(_encode(one._asdict()), "message") for one in found)
    finally:
        wired.raw.end(watcher)
