"""``GET /api/v1/stream``: events as server-sent events, with replay from ``Last-Event-ID``."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from relevo.bus import Bus, Delivered
from relevo.errors import FieldError, Invalid
from relevo.realtime.follow import Follower, Replay, Watcher
from relevo.realtime.view import KINDS, Views, kind_of, wants
from relevo.wire import sse

# Raises Unauthenticated or Forbidden.
Admit = Callable[[HTTPConnection], Awaitable[Watcher]]


def parse_filters(connection: HTTPConnection) -> tuple[frozenset[str], frozenset[str]]:
    """``devices=`` and ``kinds=``, each a comma-separated list. Raises :class:`Invalid` for an unknown kind."""
    devices, kinds = (
        frozenset(part for part in connection.query_params.get(name, "").split(",") if part)
        for name in ("devices", "kinds")
    )
    unknown = kinds - KINDS
    if unknown:
        message = f"kinds: {sorted(unknown)[0]!r} is none of {', '.join(sorted(KINDS))}"
        raise Invalid("kind_unknown", message, [FieldError("kinds", message)])
    return devices, kinds


def parse_since(text: str | None, field: str) -> int | None:
    """A sequence number or nothing. Raises :class:`Invalid`."""
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        message = f"{field} must be a sequence number"
        raise Invalid("seq_invalid", message, [FieldError(field, message)])
    return int(text)


def routes(
    bus: Bus, replay: Replay, committed: Callable[[], int], views: Views, admit: Admit, room: int
) -> list[Route]:
    """The stream's route."""

    async def stream(request: Request) -> Response:
        watcher = await admit(request)
        devices, kinds = parse_filters(request)
        since = parse_since(request.headers.get("last-event-id") or request.query_params.get("since"), "Last-Event-ID")
        return StreamingResponse(
            _frames(
                Follower(bus, replay, wants(watcher.sees, devices, kinds), room), since, committed, views, watcher.good
            ),
            media_type=sse.MEDIA_TYPE,
            headers=sse.HEADERS,
        )

    return [Route("/api/v1/stream", stream, methods=["GET"])]


async def _frames(
    follower: Follower, since: int | None, committed: Callable[[], int], views: Views, good: Callable[[], bool]
) -> AsyncIterator[bytes]:
    async with follower:
        # Before the first line: whoever has it may send a reading and wait for it here.
        batches = follower.batches(since, committed())
        yield sse.retry(2_000)
        following = asyncio.ensure_future(anext(batches))
        silent = 0
        try:
            while good():
                done, _ = await asyncio.wait((following,), timeout=sse.LOOK_S)
                if not done:
                    silent += 1
                    if sign := sse.awake(silent):
                        yield sign
                    continue
                try:
                    batch = following.result()
                except StopAsyncIteration:
                    return
                following = asyncio.ensure_future(anext(batches))
                yield b"".join(
                    sse.frame(views.json(one), kind_of(one.event), one.seq)
                    if isinstance(one, Delivered)
                    else sse.frame(views.json(one), "gap")
                    for one in batch
                )
        finally:
            following.cancel()
