"""The JavaScript client that the dashboards of water meters use, 4.7.5, unmodified under Node."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.clients.node import installed
from tests.journeys.meters import Meter, claim, sign_in
from tests.running import RunningServer

HERE = Path(__file__).parent
SECONDS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("node") / "data", env={"RELEVO_PROFILE": "lab"}) as one:
        yield one


class Node:
    """One client."""

    def __init__(self, server: RunningServer, **options: Any) -> None:
        command = ["node", HERE / "socketio.mjs", installed(), server.http, json.dumps(options)]
        self._told: queue.Queue[list[Any]] = queue.Queue()
        self.process = subprocess.Popen(
            [str(one) for one in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._told.put(json.loads(line))

    def next(self, *names: str) -> list[Any]:
        """The next thing of one of these names."""
        while True:
            told = self._told.get(timeout=SECONDS)
            if told[0] in names:
                return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(SECONDS)
        self._reading.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
def test_hidrometro_07_the_javascript_client(server: RunningServer, transports: list[str]) -> None:
    with Meter(server) as meter:
        meter.read("NODE", 1.5, 2)
        with Node(server, transports=transports) as node:
            if len(transports) == 2:
                # Which of both comes first is a matter of who is faster.
                assert {node.next("connect", "upgrade")[0] for _ in range(2)} == {"connect", "upgrade"}
            else:
                assert node.next("connect") == ["connect", transports[0]]
                name, history = node.next("history:init", "data", "alert")
                assert name == "history:init"
                assert history[-1].items() >= {"totalLiters": 1.5, "flowLmin": 2}.items()
                name, current = node.next("history:init", "data", "alert")
                assert (name, current) == ("data", history[-1] | {"numero_serie": "NODE"})
            meter.read("NODE", 2)
            while node.next("data")[1]["totalLiters"] != 2:
                pass
            for total in range(3, 40):
                meter.read("NODE", total)
                assert node.next("history:init", "data", "alert")[1]["totalLiters"] == total
            meter.read("NODE", 40, 9, vazamento_detectado=True)
            told = dict([node.next("data", "alert"), node.next("data", "alert")])
            assert told["data"]["totalLiters"] == 40
            assert (told["alert"]["type"], told["alert"]["serial"]) == ("leak", "NODE")
            # The next one is another episode.
            meter.read("NODE", 41, 0)


def test_a_client_comes_back_by_itself_after_a_restart(server: RunningServer) -> None:
    claim(server, "STAYS")
    with Meter(server) as meter:
        meter.read("STAYS", 7)
    with Node(server, reconnectionDelay=100, reconnectionDelayMax=300) as node:
        node.next("connect")
        node.next("history:init")
        server.restart()
        node.next("disconnect")
        node.next("connect")
        (_, history) = node.next("history:init")
        assert history[-1]["totalLiters"] == 7
        assert node.next("data")[1]["numero_serie"] == "STAYS"


def test_a_token_opens_what_is_closed(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_OPEN_READS": "false"}) as closed:
        with Node(closed, reconnection=False) as node:
            assert node.next("connect", "connect_error") == ["connect_error", "missing token"]
        with sign_in(closed) as client:
            token = client.headers["authorization"].removeprefix("Bearer ")
        with Node(closed, auth={"token": token}, transports=["websocket"]) as node:
            assert node.next("connect", "connect_error")[0] == "connect"
            assert node.next("history:init", "data") == ["history:init", []]
