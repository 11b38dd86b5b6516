"""Real firmware in processes: boards that come online by themselves, are switched, reset and crash."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from relevo.clock import SystemClock
from relevo.errors import ConfigurationError
from relevo.flashing import sources
from relevo.simulator.firmware import Count, FirmwareOptions, FirmwareReport, simulate_firmware, steering
from relevo.simulator.firmware_board import Board, interpreter_here
from relevo.simulator.http_client import Answer, HttpClient
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests."""
    with RunningServer(tmp_path_factory.mktemp("firmware") / "data") as server:
        yield server


def here() -> Path | None:
    try:
        return interpreter_here()
    except ConfigurationError:
        return None


async def run(server: RunningServer, boards: int, enough: Callable[[], bool], **changes: object) -> FirmwareReport:
    """Boards that run until it is ``enough``, a minute at most."""
    values: dict[str, object] = {
        "boards": boards, "http": server.http, "mqtt_port": server.mqtt_port, "password": ADMIN_PASSWORD, "steer": 0.0,
    }  # fmt: skip
    options = FirmwareOptions(**(values | changes))  # type: ignore[arg-type]
    stop = asyncio.Event()
    running = asyncio.create_task(simulate_firmware(options, stop=stop))
    while not running.done():
        if await asyncio.to_thread(enough):
            # What was said before is read in the meantime.
            await asyncio.sleep(0.3)
            stop.set()
            break
        await asyncio.sleep(0.1)
    return await running


@pytest.mark.skipif(here() is None, reason="no MicroPython here: tools/micropython fetches it")
async def test_boards_come_online_and_their_pins_do_as_the_server_says(running: RunningServer) -> None:
    def confirmed() -> bool:
        figures = running.api.get("/api/v1/system").json()
        done: int = figures["commands"]["ended"].get("confirmed", 0)
        online: int = figures["presence"].get("autocore", {}).get("online", 0)
        return done > 4 and online == 3

    report = await run(running, 3, confirmed, steer=0.3)
    assert report.problems == []
    assert (report.online, report.resets, report.ended) == (3, 0, {})
    assert report.told == report.confirmed == report.proven > 3
    assert report.online_max_s is not None
    assert report.online_max_s > 0
    assert report.memory_max_kb is not None
    assert report.memory_max_kb < 16_000
    assert report.exit_code == 0
    items = running.api.get("/api/v1/devices", params={"search": "Firmware", "limit": 50}).json()["items"]
    assert [one["contract"] for one in items] == ["autocore"] * 3


def pretending(place: Path, code: str) -> Path:
    """A program in the place of MicroPython, started in the board's folder."""
    program = place / "micropython"
    program.write_text(f"#!/bin/sh\n{code}\n")
    program.chmod(0o755)
    return program


def second_time(place: Path, code: str) -> tuple[Path, Callable[[], bool]]:
    """A program that does ``code`` the first time and is online the second, and whether that is so of two boards."""
    online = f"echo 'state: online after 5 ms'; touch {place}/up-$BOARD_MAC; exec sleep 60"
    program = pretending(place, f"if [ -e been ]; then {online}; fi; touch been; {code}")
    return program, lambda: len(list(place.glob("up-*"))) == 2


async def test_a_board_that_resets_is_started_again(running: RunningServer, tmp_path: Path) -> None:
    program, enough = second_time(tmp_path, "exit 3")
    report = await run(running, 2, enough, interpreter=program)
    assert (report.online, report.resets, report.ended, report.problems) == (2, 2, {}, [])
    assert report.exit_code == 0


async def test_a_board_that_crashes_is_counted_and_started_again(running: RunningServer, tmp_path: Path) -> None:
    program, enough = second_time(tmp_path, "echo dear me; exit 70")
    report = await run(running, 2, enough, interpreter=program)
    assert (report.online, report.resets, report.ended) == (2, 0, {"70": 2})
    assert report.problems == [f"board {number} ended with 70, having said: dear me" for number in (1, 2)]
    assert report.exit_code == 1


async def test_boards_find_their_key_and_no_password_of_ours(
    running: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELEVO_ADMIN_PASSWORD", ADMIN_PASSWORD)
    shown = tmp_path / "shown"
    shown.mkdir()
    program = pretending(tmp_path, f"cp *.json {shown}; env > {shown}/env; touch {shown}/all; exec sleep 60")
    report = await run(running, 1, (shown / "all").exists, interpreter=program)
    assert (report.online, report.exit_code) == (0, 1)
    assert "did not come online" in report.problems[0]
    config = json.loads((shown / "config.json").read_text())
    secrets = json.loads((shown / "secrets.json").read_text())
    assert (config["backend_ip"], config["backend_port"]) == ("127.0.0.1", running.http_port)
    assert len(secrets["device_token"]) > 20
    assert json.loads((shown / "profile.json").read_text())["board"] == "relay"
    assert ADMIN_PASSWORD not in (shown / "env").read_text()


class Confirming:
    """A server that confirms whatever it is asked for, and does it at the pins when it is ``true``."""

    def __init__(self, board: Board, true: bool) -> None:
        self.board, self.true = board, true
        self.pins = sources.profile("relay16").pins["relays"]
        self.levels = {str(pin): 1 for pin in self.pins}

    async def post(self, path: str, body: dict[str, dict[str, int]]) -> Answer:
        asked = body["params"]
        if self.true:
            self.levels[str(self.pins[asked["channel"] - 1])] = 0 if asked["state"] else 1
        (self.board.folder / "pins.json").write_text(json.dumps(self.levels))
        return Answer(200, {"state": "confirmed"})


@pytest.mark.parametrize("true", [True, False])
async def test_a_command_counts_when_the_pin_has_the_level(tmp_path: Path, true: bool) -> None:
    board = Board(1, "uuid", "020000000001", tmp_path, SystemClock())
    board.online_s = 1.0
    count = Count()
    server = cast(HttpClient, Confirming(board, true))
    options = FirmwareOptions(1, steer=0.001)
    operator = asyncio.create_task(steering(server, [board], sources.profile("relay16"), options, count))
    while count.confirmed < 50:
        await asyncio.sleep(0.001)
    operator.cancel()
    await asyncio.gather(operator, return_exceptions=True)
    assert (count.proven == count.told == count.confirmed) is true
    assert (count.problems == []) is true
    if not true:
        assert count.proven == 0
        assert "is confirmed, the pin is 1" in count.problems[0]


def test_without_micropython_it_is_said_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="tools/micropython"):
        interpreter_here(tmp_path)
    on_path = pretending(tmp_path, "exit 0")
    assert interpreter_here(tmp_path) == on_path
    cache = tmp_path / ".cache" / "micropython"
    cache.mkdir(parents=True)
    for name in ("micropython64", "micropython32"):
        (cache / name).write_text("")
        assert interpreter_here(tmp_path) == cache / name


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"boards": 0}, "real-firmware"), ({"boards": 1_001}, "real-firmware"), ({"profile": "toaster"}, "toaster"),
        ({"http": "https://here"}, "plain http"), ({"password": ""}, "password"), ({"duration": 0.0}, "duration"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_named(changes: dict[str, object], word: str) -> None:
    options = FirmwareOptions(**({"boards": 1, "password": "p"} | changes))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=word):
        options.check()
