"""Stopping: within five seconds, with everything acknowledged stored and everybody told."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
import websockets

from relevo.store.db import FILE_NAME, open_writer
from tests.conformance.raw import CONNACK_OK, Raw, connect, publish
from tests.faults.ledger import LedgerClient
from tests.journeys.live import eventually
from tests.running import RunningServer

# The server gives each of its parts a second or two; whoever waits for what never comes would wait for ever.
MOST_SECONDS = 20.0


def timed_stop(server: RunningServer) -> float:
    begun = time.monotonic()
    assert server.stop() == 0
    return time.monotonic() - begun


def test_under_load_everything_acknowledged_is_stored(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        clients = [
            LedgerClient(server, f"busy-{n}", server.register(f"busy-{n}"), numbered=bool(n), in_flight=100)
            for n in range(3)
        ]
        try:
            for client in clients:
                client.connect()
                client.start_sending(400)
            eventually(lambda: all(client.acknowledged > 100 for client in clients), 15)
            took = timed_stop(server)
            waiting = sum(client.waiting for client in clients)
            acknowledged = sum(client.acknowledged for client in clients)
            server.start()
            for client in clients:
                client.stop_sending()
            assert all(client.drained(20) for client in clients)
            faults = [fault for client in clients for fault in client.faults(server)]
        finally:
            for client in clients:
                client.close()
    print(f"stopped in {took:.2f} s with {acknowledged} acknowledged and {waiting} waiting")
    assert faults == []
    assert took < MOST_SECONDS


async def test_open_views_and_connections_are_told_and_hold_nothing_up(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        stream = f"{server.http}/api/v1/stream"
        body = b"POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        with (
            Raw(server.mqtt_port, connect("idle")) as device,
            # Those who never finish what they began.
            Raw(server.http_port),
            Raw(server.http_port, b"GET /healthz HTTP/1.1\r\n"),
            Raw(server.http_port, body),
            Raw(server.mqtt_port),
            Raw(server.mqtt_port, b"\x10"),
        ):
            device.expect(CONNACK_OK)
            async with (
                httpx.AsyncClient(headers=headers, trust_env=False, timeout=10) as client,
                client.stream("GET", stream) as watched,
                websockets.connect(
                    f"ws://127.0.0.1:{server.http_port}/api/v1/ws", additional_headers=headers
                ) as socket,
            ):
                lines = watched.aiter_lines()
                assert (await anext(lines)).startswith("retry:")
                stopping = asyncio.create_task(asyncio.to_thread(timed_stop, server))
                rest = [line async for line in lines]
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    while True:
                        await socket.recv()
                took = await stopping
            device.expect_closed()
    assert all(not line or line.split(":")[0] in ("id", "event", "data", "") for line in rest)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert took < MOST_SECONDS
    assert "Traceback" not in server.log.read_text()


def test_a_locked_database_does_not_hold_it_up_and_nothing_false_is_acknowledged(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_PROFILE": "lab"}) as server:
        server.register("waits")
        holder = open_writer(tmp_path / "data" / FILE_NAME)
        holder.execute("BEGIN IMMEDIATE")
        try:
            with Raw(server.mqtt_port, connect("waits")) as client:
                client.expect(CONNACK_OK)
                client.send(publish("relevo/waits/telemetry", b'{"v": 1}', qos=1, packet_id=9))
                eventually(lambda: server.health().status_code == 503)
                took = timed_stop(server)
                client.expect_closed()
        finally:
            holder.execute("ROLLBACK")
            holder.close()
    connection = open_writer(tmp_path / "data" / FILE_NAME)
    assert connection.execute("SELECT count(*) FROM latest").fetchone() == (0,)
    connection.close()
    assert took < MOST_SECONDS
