"""What Relevo has to stand, as scripts and tests both run it: many idle connections, a storm of returning clients, and
a subscriber that stops reading. The load is ``bench/forward.py`` in processes of its own.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.running import RunningServer  # noqa: E402

SERVER_CPU, LOAD_CPU = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)
_CONTRACT_TOPIC = "relevo/{}/telemetry"
_CONTRACT_PAYLOAD = '{"values":{"air_temperature_c":21.37,"relative_humidity_pct":48.2,"note":"%s"}}' % ("x" * 110)


class Failed(Exception):
    """The load could not be put on; figures would be worth nothing."""


@contextmanager
def many_files() -> Iterator[int]:
    """Children that are started inside may open as many files as the system allows: so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Load:
    """``bench/forward.py`` in a process of its own, on its own core when ``pinned``."""

    def __init__(self, what: str, *, pinned: bool = True, **named: object) -> None:
        command = [sys.executable, str(HERE / "forward.py"), what]
        for name, value in named.items():
            option = "--" + name.replace("_", "-")
            if value is True:
                command.append(option)
            elif value is not False:
                command += [option, str(value)]
        self.what = what
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, {LOAD_CPU})) if pinned else None,
        )

    def answer(self) -> dict[str, Any]:
        """The next line; raises :class:`Failed` when there is none."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the load {self.what!r} ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self, command: str) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate(timeout=30)


def generate(what: str, *, pinned: bool = True, **named: object) -> dict[str, Any]:
    """Put a load on and return its result."""
    with Load(what, pinned=pinned, **named) as load:
        return load.answer()


def storm(
    server: RunningServer,
    *,
    clients: int,
    others: int,
    rate: float,
    calm_s: float,
    durable: bool,
    together: bool = False,
    pinned: bool = True,
) -> dict[str, Any]:
    """``clients`` reconnect within a second while ``others`` publish at QoS 1.

    ``durable``: the others send telemetry of the native contract, so that PUBACK means stored. ``together``: before
    that all connections end in the same instant, as when a switch or a balancer dies.
    """
    more = {"topic": _CONTRACT_TOPIC, "payload": _CONTRACT_PAYLOAD} if durable else {}
    port = server.mqtt_port
    with (
        Load("storm", port=port, connections=clients, seconds=1, pinned=pinned) as back,
        Load("calm", port=port, publishers=others, rate=rate, pinned=pinned, **more) as calm,
    ):
        back.answer()
        calm.answer()
        time.sleep(1)
        calm.tell("mark calm")
        time.sleep(calm_s)
        if together:
            calm.tell("mark drop")
            back.tell("drop")
            time.sleep(1)
        before = server.api.get("/api/v1/system").json()["mqtt"]["delayed"]
        calm.tell("mark storm")
        back.tell("return")
        calm.tell("mark after")
        time.sleep(min(2.0, calm_s))
        result = calm.tell("end")
        result["storm"] = back.tell("end")
    result["delayed"] = server.api.get("/api/v1/system").json()["mqtt"]["delayed"] - before
    return result


def slow(
    server: RunningServer,
    *,
    qos: int,
    seconds: float,
    rate: float,
    publishers: int = 50,
    others: int = 2,
    kept: bool = False,
    size: int = 200,
    pinned: bool = True,
) -> dict[str, Any]:
    """One subscriber stops reading for ``seconds``; with what the server says it dropped."""
    before = dropped(server)
    named = {"port": server.mqtt_port, "pid": server.pid, "qos": qos, "seconds": seconds, "rate": rate, "kept": kept}
    result = generate("slow", publishers=publishers, subscribers=others, size=size, pinned=pinned, **named)
    # The timeline folds what happens within a second and tells it afterwards.
    end = time.monotonic() + 10
    while True:
        after = dropped(server)
        result["dropped"] = after["mqtt"] - before["mqtt"]
        result["told"] = after["timeline"] - before["timeline"]
        if result["told"] >= result["dropped"] or time.monotonic() > end:
            sent, several = result["sent"], result["others"]
            result["others_missed"] = sum(sent - count for count in several)
            # Every subscriber should have got every message; the server counts over all of them.
            result["unaccounted"] = sent - result["delivered"] + result["others_missed"] - result["dropped"]
            return result
        time.sleep(0.2)


def dropped(server: RunningServer) -> dict[str, int]:
    """Messages that the server says it dropped: its counter, and the sum over the door's timeline."""
    figures = server.api.get("/api/v1/system").json()
    told, cursor = 0, ""
    while True:
        page = server.api.get(
            "/api/v1/system/timeline", params={"limit": 1000} | ({"cursor": cursor} if cursor else {})
        )
        body = page.json()
        told += sum(one["count"] for one in body["items"] if one["reason"] == "queue_full")
        cursor = body["next"] or ""
        if not cursor:
            return {"mqtt": figures["mqtt"]["dropped"], "timeline": told}
