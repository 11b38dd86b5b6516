"""History over HTTP: the same answers before and after readings moved into chunks, and nothing runs for nobody."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.running import RunningServer

# The compactor runs when nothing else wants to, and on a busy machine that may be late.
pytestmark = pytest.mark.timeout(400)

BEGIN = 1_767_225_600_000
VALUES: list[Any] = [1, 1.0, True, -0.0, "on", [1, None], {"a": 2**63 - 1}, 21.37, 2**63 - 1, -(2**63), False, "ü"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    environment = {"RELEVO_HISTORY__TAIL_EVENTS": "100", "RELEVO_HISTORY__QUERY_S": "10"}
    with RunningServer(tmp_path_factory.mktemp("history") / "data", env=environment) as one:
        yield one


def until(condition: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def send(server: RunningServer, device: str, points: list[tuple[int, Any]]) -> None:
    items = [{"device": device, "ts": BEGIN + ts, "values": {"v": value}} for ts, value in points]
    for at in range(0, len(items), 500):
        answer = server.api.post("/api/v1/telemetry", json=items[at : at + 500])
        assert (answer.status_code, answer.json()["refused"]) == (200, [])


def tail(server: RunningServer) -> float:
    lines = server.api.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("relevo_history_tail_events ")).split()[1])


def compacted(server: RunningServer) -> None:
    """Enough comes in that everything before it is moved."""
    server.register(f"filler-{time.monotonic_ns()}")
    filler = server.api.get("/api/v1/devices", params={"search": "filler", "limit": 1}).json()["items"][0]["id"]
    send(server, filler, [(n, n) for n in range(150)])
    until(lambda: tail(server) < 100)


def workers(server: RunningServer) -> list[psutil.Process]:
    """The processes that answer questions."""
    found = []
    for one in psutil.Process(server.pid).children():
        # One that ends at this moment is none.
        with contextlib.suppress(psutil.Error):
            command = one.cmdline()
            if "relevo.store.history.worker" in command and "idle" not in command:
                found.append(one)
    return found


def page(server: RunningServer, device: str, **query: Any) -> dict[str, Any]:
    answer = server.api.get(f"/api/v1/devices/{device}/telemetry/v", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_answers_are_the_same_before_and_after_and_types_survive(server: RunningServer) -> None:
    server.register("same")
    points = [(n * 10, value) for n, value in enumerate(VALUES * 4)]
    send(server, "same", points[::-1])
    before = page(server, "same")
    assert repr(before["points"]) == repr([[BEGIN + ts, value] for ts, value in points])
    compacted(server)
    assert repr(page(server, "same")) == repr(before)
    assert workers(server) != []
    send(server, "same", [(5, "late"), (10, "twice")])
    mixed = page(server, "same")["points"]
    assert [value for _, value in mixed[:4]] == [1, "late", 1.0, "twice"]
    compacted(server)
    assert repr(page(server, "same")["points"]) == repr(mixed)


def test_a_cursor_from_before_goes_on_after(server: RunningServer) -> None:
    server.register("cursor")
    # Three at each millisecond, so that pages end between them.
    send(server, "cursor", [(n // 3, n) for n in range(60)])
    found, cursor = [], None
    for limit in (7, 7, 10, 100):
        got = page(server, "cursor", limit=limit, **({"cursor": cursor} if cursor else {}))
        found += [value for _, value in got["points"]]
        cursor = got["next"]
        compacted(server)
    assert (found, cursor) == (list(range(60)), None)


def test_the_past_of_an_earlier_device_of_the_same_id_does_not_show(server: RunningServer) -> None:
    server.register("again")
    send(server, "again", [(n, n) for n in range(20)])
    compacted(server)
    assert len(page(server, "again")["points"]) == 20
    assert server.api.delete("/api/v1/devices/again").status_code < 300
    server.register("again")
    assert server.api.get("/api/v1/devices/again/telemetry/v").status_code == 404
    send(server, "again", [(100, "new")])
    assert page(server, "again")["points"] == [[BEGIN + 100, "new"]]
    compacted(server)
    assert page(server, "again")["points"] == [[BEGIN + 100, "new"]]


def test_whoever_hangs_up_leaves_nothing_running(server: RunningServer) -> None:
    server.register("left")
    send(server, "left", [(n, n) for n in range(20)])
    compacted(server)
    page(server, "left")
    held = workers(server)
    for one in held:
        one.suspend()
    asked = socket.create_connection(("127.0.0.1", server.http_port))
    head = f"Host: 127.0.0.1:{server.http_port}\r\nAuthorization: Bearer {server.token}"
    asked.sendall(f"GET /api/v1/devices/left/telemetry/v HTTP/1.1\r\n{head}\r\n\r\n".encode())
    time.sleep(0.3)
    asked.close()
    gone, _ = psutil.wait_procs(held, 8)
    assert gone != []
    for one in held:
        if one.is_running():
            os.kill(one.pid, signal.SIGCONT)
    assert len(page(server, "left")["points"]) == 20
    assert "exception" not in server.log_tail(20).lower()


def test_what_cannot_be_opened_is_an_error_that_says_so(tmp_path: Path) -> None:
    with RunningServer(
        tmp_path / "data", env={"RELEVO_HISTORY__TAIL_EVENTS": "100", "RELEVO_HISTORY__QUERY_S": "0.5"}
    ) as server:
        server.register("slow")
        send(server, "slow", [(n, n) for n in range(150)])
        until(lambda: tail(server) < 100)

        answers = []

        def refused() -> bool:
            # The first may be answered before it can be held up.
            server.api.get("/api/v1/devices/slow/telemetry/v")
            for one in workers(server):
                with contextlib.suppress(psutil.Error):
                    one.suspend()
            answers.append(server.api.get("/api/v1/devices/slow/telemetry/v"))
            return answers[-1].status_code == 503

        until(refused)
        assert "took more than 0.5 s" in answers[-1].json()["detail"]
