"""The firmware of ``firmware/micropython/thingsnxt`` on this machine, with its hardware replaced and time injected."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.journeys.thingsnxt import App, close_all
from tests.running import RunningServer

PLACE = Path(__file__).parents[2] / "firmware" / "micropython" / "thingsnxt"
MODULES = ("pace", "storage", "console", "web", "board")
ID, TOKEN = "6123456abcdef12345678901", "f0e1d2c3b4a5968778695a4b3c2d1e0f"


@pytest.fixture(scope="module")
def firmware() -> Iterator[SimpleNamespace]:
    sys.path.insert(0, str(PLACE))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(PLACE))
        for name in MODULES:
            sys.modules.pop(name, None)


class Flash:
    """Non-volatile storage, as ``esp32.NVS`` has it."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}
        self.commits = 0
        self._namespace = ""

    def __call__(self, namespace: str) -> "Flash":
        self._namespace = namespace
        self.kept.setdefault(namespace, {})
        return self

    def get_blob(self, key: str, room: bytearray) -> int:
        if key not in self.kept[self._namespace]:
            raise OSError(-4354)
        value = self.kept[self._namespace][key]
        room[: len(value)] = value
        return len(value)

    def set_blob(self, key: str, value: bytes) -> None:
        self.kept[self._namespace][key] = value

    def erase_key(self, key: str) -> None:
        if self.kept[self._namespace].pop(key, None) is None:
            raise OSError(-4354)

    def commit(self) -> None:
        self.commits += 1


class Bench:
    """A board on the bench: ``answers`` are given in turn, the last one for ever."""

    def __init__(
        self, firmware: SimpleNamespace, answers: list[Any], request: Callable[..., Any] | None = None
    ) -> None:
        self.flash, self.time, self.slept, self.asked = Flash(), 0, [], []
        self.writes: list[tuple[int, int]] = []
        self.answers = answers
        self.storage = firmware.storage.Storage(self.flash)
        self.restarted: list[int] = []
        self.board = firmware.board.Board(
            self.storage,
            self.pin,
            {"temperature": lambda: 20.5, "broken": lambda: float("nan"), "absent": lambda: None},
            self.sleep,
            lambda: self.time,
            lambda: 0.5,
            request or self.request,
            free=lambda: 90_000,
        )
        self.console = firmware.console.Console(
            self.storage, list, self.board.told, lambda: self.restarted.append(1), lambda on: None
        )
        self.writes.clear()

    def pin(self, number: int) -> Any:
        return SimpleNamespace(value=lambda state: self.writes.append((number, state)))

    def sleep(self, ms: int) -> None:
        self.slept.append(ms)
        self.time += ms

    def request(self, method: str, url: str, headers: dict[str, str], body: Any = None) -> Any:
        self.asked.append((method, url, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def provision(self, device_id: str = ID, token: str = TOKEN, url: str = "http://127.0.0.1:8000") -> list[str]:
        said: list[str] = []
        for line in ("  PROVISION ", device_id, token, url, "home", "secret-network"):
            said += self.console.line(line)
        return said


def ok(**data: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    return 200, {}, {"data": data}


def test_thingsnxt_15_provisioning_stores_three_keys(firmware: SimpleNamespace) -> None:
    bench = Bench(firmware, [ok()])
    assert bench.board.step() == 30_000
    assert bench.asked == []
    said = bench.provision(device_id=ID.upper())
    assert said[:3] == ["Device ID:", "Device Token:", "API URL:"]
    assert TOKEN not in " ".join(said)
    kept = bench.flash.kept["iot-config"]
    assert {key: kept[key].decode() for key in ("device_id", "device_token", "api_url")} == {
        "device_id": ID,
        "device_token": TOKEN,
        "api_url": "http://127.0.0.1:8000",
    }
    assert TOKEN not in " ".join(bench.console.line("status"))
    bench.board.step()
    assert [url.rpartition("8000")[2] for _, url, _ in bench.asked] == [
        "/telemetry/latest",
        f"/devices/{ID}/telemetry",
        "/health",
    ]
    assert bench.console.line("RESET")
    assert bench.flash.kept["iot-config"] == {}
    assert bench.restarted == [1]


@pytest.mark.parametrize(
    "wrong", [{"device_id": "xyz"}, {"device_id": "g" * 24}, {"url": "server"}, {"url": "ftp://x"}, {"token": "a b"}]
)
def test_thingsnxt_15_nothing_is_stored_of_a_bad_answer(firmware: SimpleNamespace, wrong: dict[str, str]) -> None:
    bench = Bench(firmware, [ok()])
    assert any("nothing was stored" in line for line in bench.provision(**wrong))
    assert bench.flash.kept["iot-config"] == {}
    assert bench.flash.commits == 0


@pytest.mark.parametrize("trouble", [OSError("no route"), (500, {}, None), (0, {}, None)])
def test_thingsnxt_15_retries_wait_one_two_and_four_seconds(firmware: SimpleNamespace, trouble: Any) -> None:
    bench = Bench(firmware, [trouble])
    bench.provision()
    bench.board.poll()
    assert bench.slept == [1_000, 2_000, 4_000]
    assert len(bench.asked) == 4
    assert bench.board.stats["failed"] == 4
    # Failed cycles lie further and further apart, up to a minute.
    waits = []
    for _ in range(8):
        waits.append(bench.board.pace.interval("poll", bench.time))
        bench.board.pace.failed("poll")
    assert waits == sorted(waits)
    assert waits[0] > 4_000
    assert waits[-1] == 60_000
    bench.answers = [ok()]
    bench.board.poll()
    assert bench.board.pace.interval("poll", bench.time) == 4_000


def test_thingsnxt_15_too_many_requests_lengthen_both_intervals(firmware: SimpleNamespace) -> None:
    bench = Bench(firmware, [(429, {}, {"detail": "Too many requests. Please try again later."})])
    bench.provision()
    pace = bench.board.pace
    assert (pace.interval("poll", 0), pace.interval("telemetry", 0), pace.interval("health", 0)) == (
        4_000,
        10_000,
        60_000,
    )
    bench.board.poll()
    assert (bench.slept, len(bench.asked)) == ([], 1)
    assert (pace.interval("poll", bench.time), pace.interval("telemetry", bench.time)) == (5_000, 15_000)
    assert pace.interval("poll", bench.time + 299_999) == 5_000
    assert pace.interval("poll", bench.time + 300_000) == 4_000
    bench.answers = [(429, {"retry-after": "20"}, None)]
    bench.board.telemetry()
    assert pace.interval("telemetry", bench.time + 19_999) == 15_000
    assert pace.interval("telemetry", bench.time + 20_000) == 10_000
    assert bench.board.stats["too_many"] == 2


def test_thingsnxt_15_only_changes_write_pins_and_no_nan_leaves(firmware: SimpleNamespace) -> None:
    bench = Bench(firmware, [ok(v0=1, v3=True), ok(v0=1, v1="on", v9=1), ok(led=0), OSError("gone")])
    bench.provision()
    bench.board.poll()
    bench.board.poll()
    assert bench.writes == [(2, 1), (18, 1)]
    bench.board.poll()
    assert bench.writes[2:] == [(2, 0)]
    bench.board.poll()
    assert bench.board.states == {"v0": 0, "v1": 0, "v2": 0, "v3": 1, "v4": 0}
    bench.answers = [ok()]
    bench.board.telemetry()
    assert bench.asked[-1][2] == {"data": {"v0": 0, "v1": 0, "v2": 0, "v3": 1, "v4": 0, "temperature": 20.5}}


def test_thingsnxt_15_plain_http_is_for_private_addresses(firmware: SimpleNamespace) -> None:
    for host in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.4.1"):
        assert firmware.web.is_private(host)
    for host in ("8.8.8.8", "172.32.0.1", "example.org", "10.1.2.999", "10.1"):
        assert not firmware.web.is_private(host)
    with pytest.raises(firmware.web.Refused):
        firmware.web.request("GET", "http://example.org/health", {})


def test_thingsnxt_15_the_firmware_and_the_server_understand_each_other(
    firmware: SimpleNamespace, tmp_path: Path
) -> None:
    with RunningServer(tmp_path / "data", env={"RELEVO_OPEN_REGISTRATION": "true"}) as server:
        app = App(server)
        device = app.add_device()
        widget = app.add_switch(device)
        bench = Bench(firmware, [], firmware.web.request)
        bench.provision(device.id, device.token, server.http)
        bench.board.telemetry()
        assert device.poll()["temperature"] == 20.5
        assert app.switch(widget, 1).status_code == 200
        # The answer to telemetry carries it as well as a poll does.
        bench.board.poll()
        assert bench.writes == [(2, 1)]
        bench.board.telemetry()
        desired = app.http.get(f"/api/v1/devices/{device.id}/desired").json()
        assert desired["changed"]["v0"]["state"] == "agreed"
        bench.board.health()
        assert bench.board.stats["failed"] == 0
        close_all()
