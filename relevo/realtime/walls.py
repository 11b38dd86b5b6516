"""``GET /api/v1/walls/{token}/stream``: what happens to the devices and keys on a wall, as server-sent events.

Nothing is replayed: whoever comes back asks for the document. ``dashboard`` says that it changed and is to be asked for
again. The stream ends when the wall is revoked.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol, Self

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from relevo.bus import Bus, Delivered
from relevo.domain.events import AnyEvent
from relevo.wire import sse

_encode: Final = msgspec.json.Encoder().encode


class Look(Protocol):
    """Somebody who looks at a wall, while its context is open."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def good(self) -> bool:
        """Whether the wall is still in force."""

    @property
    def version(self) -> int:
        """Of the board that hangs there."""

    def wants(self, event: AnyEvent) -> bool:
        """Whether the wall is told of an event."""

    def message(self, event: AnyEvent) -> dict[str, Any] | None:
        """What it is told."""

    async def woken(self) -> None:
        """Return when the board changed, or the wall is gone."""


# Raises NotFound or TooMany.
Admit = Callable[[Request, str], Awaitable[Look]]


def routes(bus: Bus, admit: Admit, room: int) -> list[Route]:
    """The stream's route."""

    async def stream(request: Request) -> Response:
        look = await admit(request, request.path_params["token"])
        return StreamingResponse(
            _frames(bus, look, room),
            media_type=sse.MEDIA_TYPE,
            headers={**sse.HEADERS, "Referrer-Policy": "no-referrer"},
        )

    return [Route("/api/v1/walls/{token}/stream", stream, methods=["GET"])]


async def _frames(bus: Bus, look: Look, room: int) -> AsyncIterator[bytes]:
    with look:
        subscription = bus.subscribe(look.wants, room)
        version = look.version
        following = asyncio.ensure_future(subscription.next())
        waking = asyncio.ensure_future(look.woken())
        silent = 0
        try:
            yield sse.retry(2_000)
            while look.good():
                done, _ = await asyncio.wait(
                    (following, waking), timeout=sse.LOOK_S, return_when=asyncio.FIRST_COMPLETED
                )
                if not look.good():
                    return
                if not done:
                    silent += 1
                    if sign := sse.awake(silent):
                        yield sign
                    continue
                frames = []
                if waking in done:
                    waking = asyncio.ensure_future(look.woken())
                    if look.version != version:
                        version = look.version
                        frames.append(_frame({"kind": "dashboard", "version": version}))
                if following in done:
                    batch = following.result()
                    if not batch:
                        return
                    following = asyncio.ensure_future(subscription.next())
                    for one in batch:
                        told = look.message(one.event) if isinstance(one, Delivered) else {"kind": "gap"}
                        if told is not None:
                            frames.append(_frame(told))
                if frames:
                    yield b"".join(frames)
        finally:
            following.cancel()
            waking.cancel()
            bus.unsubscribe(subscription)


def _frame(told: dict[str, Any]) -> bytes:
    return sse.frame(_encode(told), told["kind"])
