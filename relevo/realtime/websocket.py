"""``/api/v1/ws``: the same events as JSON text messages, for clients that prefer a WebSocket."""

import asyncio
from collections.abc import Callable

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from relevo.bus import Bus
from relevo.errors import Forbidden, Invalid, Unauthenticated
from relevo.realtime.follow import Follower, Replay, Watcher
from relevo.realtime.sse import Admit, parse_filters, parse_since
from relevo.realtime.view import Views, wants
from relevo.wire.sse import LOOK_S

# RFC 6455 section 7.4: 1008 is a policy violation, 1012 a service restart.
_POLICY, _RESTART = 1008, 1012


def routes(
    bus: Bus, replay: Replay, committed: Callable[[], int], views: Views, admit: Admit, room: int
) -> list[WebSocketRoute]:
    """The socket's route. Query: ``devices=``, ``kinds=`` and ``since=`` as for the stream."""

    async def socket(websocket: WebSocket) -> None:
        try:
            watcher = await admit(websocket)
            devices, kinds = parse_filters(websocket)
            since = parse_since(websocket.query_params.get("since"), "since")
        except (Unauthenticated, Forbidden, Invalid) as error:
            # Accepted first, because a browser shows its page no reason for a refused handshake.
            await websocket.accept()
            await websocket.close(_POLICY, str(error)[:120])
            return
        await websocket.accept()
        async with Follower(bus, replay, wants(watcher.sees, devices, kinds), room) as follower:
            sending = asyncio.ensure_future(_send(websocket, follower, since, committed(), views))
            listening = asyncio.ensure_future(_listen(websocket))
            looking = asyncio.ensure_future(_look(watcher))
            _, pending = await asyncio.wait((sending, listening, looking), return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            if sending.done() and not sending.cancelled() and sending.exception() is None:
                await websocket.close(_RESTART, "the server stops")
            elif looking.done() and not looking.cancelled():
                await websocket.close(_POLICY, "signed out")

    return [WebSocketRoute("/api/v1/ws", socket)]


async def _send(websocket: WebSocket, follower: Follower, since: int | None, committed: int, views: Views) -> None:
    async for batch in follower.batches(since, committed):
        for one in batch:
            await websocket.send_text(views.json(one).decode())


async def _look(watcher: Watcher) -> None:
    """Return when the watcher may not watch any more."""
    while watcher.good():  # noqa: ASYNC110 - credentials end in many ways and without a signal
        await asyncio.sleep(LOOK_S)


async def _listen(websocket: WebSocket) -> None:
    """Nothing is expected from the client; reading is how its good-bye is noticed."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
