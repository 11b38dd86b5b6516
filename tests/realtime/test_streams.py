"""``/api/v1/stream`` and ``/api/v1/ws`` over real sockets: what they refuse, and what they survive."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets

from tests.http.problems import fields, problem
from tests.running import RunningServer

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"RELEVO_LIMITS__STREAM_QUEUE": "10"}
    with RunningServer(tmp_path_factory.mktemp("streams") / "data", env=env) as one:
        yield one


@pytest.fixture
def device(server: RunningServer) -> str:
    name = f"s{next(_numbers)}"
    server.register(name)
    return name


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("kinds=nothing", {}, "kinds"),
        ("kinds=telemetry,nothing", {}, "kinds"),
        ("since=x", {}, "Last-Event-ID"),
        ("since=-1", {}, "Last-Event-ID"),
        ("", {"Last-Event-ID": "abc"}, "Last-Event-ID"),
        ("", {"Last-Event-ID": "9" * 19}, "Last-Event-ID"),
        ("", {"Last-Event-ID": "1.5"}, "Last-Event-ID"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(
    server: RunningServer, query: str, headers: dict[str, str], field: str
) -> None:
    assert fields(server.api.get(f"/api/v1/stream?{query}", headers=headers)) == [field]


def test_a_stream_wants_somebody_who_signed_in(server: RunningServer) -> None:
    problem(httpx.get(f"{server.http}/api/v1/stream", trust_env=False), 401)


async def socket_to(server: RunningServer, query: str = "", **headers: str) -> websockets.ClientConnection:
    uri = f"ws://127.0.0.1:{server.http_port}/api/v1/ws?{query}"
    given = {"Authorization": f"Bearer {server.token}"} | headers
    return await websockets.connect(uri, additional_headers=given)


@pytest.mark.parametrize(("query", "said"), [("kinds=nothing", "'nothing' is none of"), ("since=x", "since must be")])
async def test_a_socket_that_makes_no_sense_is_closed_with_the_reason(
    server: RunningServer, query: str, said: str
) -> None:
    async with await socket_to(server, query) as socket:
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008
    assert said in caught.value.rcvd.reason


@pytest.mark.parametrize("message", ["hello", b"\x00\x01", "x" * 100_000, ""])
async def test_what_a_client_says_does_not_end_its_socket(
    server: RunningServer, device: str, message: str | bytes
) -> None:
    """Some libraries send text or bytes as a sign of life."""
    async with await socket_to(server, f"devices={device}&kinds=telemetry") as socket:
        await socket.send(message)
        await socket.ping()
        await asyncio.to_thread(server.api.post, f"/api/v1/devices/{device}/telemetry", json={"v": 1})
        async with asyncio.timeout(5):
            event = json.loads(await socket.recv())
    assert event["values"] == {"v": 1}


async def watched(server: RunningServer, wanted: int) -> None:
    """Wait until so many live views are open."""
    async with asyncio.timeout(5):
        while (await asyncio.to_thread(server.api.get, "/api/v1/system")).json()["live_views"] != wanted:
            await asyncio.sleep(0.01)


async def test_a_socket_that_went_away_is_no_longer_counted(server: RunningServer) -> None:
    await watched(server, 0)
    sockets = [await socket_to(server) for _ in range(3)]
    await watched(server, 3)
    await sockets[0].close()
    sockets[1].transport.abort()
    sockets[2].transport.abort()
    await watched(server, 0)


async def test_a_stream_that_went_away_is_no_longer_counted(server: RunningServer) -> None:
    await watched(server, 0)
    headers = {"Authorization": f"Bearer {server.token}"}
    async with (
        httpx.AsyncClient(trust_env=False, headers=headers) as client,
        client.stream("GET", f"{server.http}/api/v1/stream") as stream,
    ):
        # Held on to: a reader that is given up closes the stream.
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith("retry:")
        await watched(server, 1)
    await watched(server, 0)


async def test_the_stream_is_not_kept_by_proxies_or_caches(server: RunningServer) -> None:
    headers = {"Authorization": f"Bearer {server.token}"}
    async with (
        httpx.AsyncClient(trust_env=False, headers=headers) as client,
        client.stream("GET", f"{server.http}/api/v1/stream") as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"


async def test_a_reader_that_stops_reading_gets_the_latest_values_and_the_number_it_missed(
    server: RunningServer, device: str
) -> None:
    """A large value fills the buffers between us; what waits behind them is bounded."""
    text = "x" * 4_000
    seen: list[dict[str, Any]] = []
    async with await socket_to(server, f"devices={device}&kinds=telemetry") as socket:
        sent = 0
        for _ in range(40):
            items = [{"values": {"n": sent + n, "text": text}} for n in range(100)]
            sent += 100
            answer = await asyncio.to_thread(server.api.post, f"/api/v1/devices/{device}/telemetry", json=items)
            assert answer.status_code == 200
        async with asyncio.timeout(10):
            while not seen or seen[-1].get("values", {}).get("n") != sent - 1:
                seen.append(json.loads(await socket.recv()))
    missed = sum(one["missed"] for one in seen if one["kind"] == "gap")
    shown = [one for one in seen if one["kind"] == "telemetry"]
    assert missed > 0
    assert missed + len(shown) == sent
    assert [one["seq"] for one in shown] == sorted({one["seq"] for one in shown})
