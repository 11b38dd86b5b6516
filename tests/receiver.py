"""A receiver of webhooks over real sockets, as somebody would write one: aiohttp and the standardwebhooks library."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import msgspec
from aiohttp import web


class Received(NamedTuple):
    """One request; ``body`` as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]


Reply = Callable[[Received], web.Response]


def ok(_: Received) -> web.Response:
    return web.Response(status=204)


class Receiver:
    """Listens on 127.0.0.1. ``reply`` may be changed at any time; ``confirmed`` are those answered with 2xx."""

    def __init__(self, reply: Reply = ok, tls: Any = None) -> None:
        self.reply = reply
        self.all: list[Received] = []
        self.confirmed: list[Received] = []
        self.port = 0
        # Answers wait for it.
        self.pause: asyncio.Event | None = None
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=mine"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        one = Received(headers, await request.read())
        self.all.append(one)
        if self.pause is not None:
            await self.pause.wait()
        answer = self.reply(one)
        if 200 <= answer.status < 300:
            self.confirmed.append(one)
        return answer
