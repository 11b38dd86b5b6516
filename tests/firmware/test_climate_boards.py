"""Climate boards of contract native in real firmware processes at a real server."""

import itertools
import time
from pathlib import Path
from typing import Any

from tests.firmware.boards import Board, command, flashed, heap, needs_micropython
from tests.journeys.live import eventually
from tests.running import RunningServer

pytestmark = needs_micropython
HEATER = 26


def climate(server: RunningServer, app: Path, place: Path, mac: str, **more: Any) -> tuple[Board, str]:
    """A board that was flashed, and its id."""
    device = flashed(server, place / mac, "climate", mac)
    board = Board(place / mac, app, mac=mac, shape="climate", **more)
    board.write("config.json", board.read("config.json") | {"interval_s": more.get("interval_s", 0)})
    board.write("sensors.json", {"temperature": 21.5, "humidity": 40, "millivolts": 1950})
    return board, device


def values(server: RunningServer, device: str, key: str) -> list[float]:
    return [value for _, value in server.points(device, key, 0, int(time.time() * 1000) + 86_400_000)]


def test_what_is_measured_arrives_and_what_is_not_there_does_not(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    board, device = climate(server, app, tmp_path, "02000a00d001", telemetry_ms=100)
    with board:
        board.online()
        eventually(lambda: 21.5 in values(server, device, "temperature"))
        eventually(lambda: values(server, device, "battery_v")[-1:] == [3.9])
        assert set(values(server, device, "humidity")) == {40.0}
        board.write("sensors.json", {"fails": 1, "millivolts": 1500})
        eventually(lambda: values(server, device, "battery_v")[-1:] == [3.0])
        assert len(values(server, device, "battery_v")) > len(values(server, device, "temperature"))
        assert server.api.get(f"/api/v1/devices/{device}").json()["online"]


def test_commands_are_carried_out_once(server: RunningServer, app: Path, tmp_path: Path) -> None:
    board, device = climate(server, app, tmp_path, "02000a00d002")
    with board:
        board.online()
        found = command(server, device, "ping")
        assert (found["state"], "uptime" in found["result"]) == ("confirmed", True)
        command(server, device, "measure")
        assert command(server, device, "measure")["result"]["temperature"] == 21.5
        assert command(server, device, "status")["result"]["firmware_version"] == "0.0.0"
        assert command(server, device, "dance")["state"] == "failed"
        assert command(server, device, "restart")["state"] == "confirmed"
        assert board.ended() == 3
        board.start()
        board.online(times=2)
        assert command(server, device, "ping")["state"] == "confirmed"
    assert board.starts == 2


def test_it_becomes_what_is_desired(server: RunningServer, app: Path, tmp_path: Path) -> None:
    board, device = climate(server, app, tmp_path, "02000a00d003")

    def desire(**wanted: Any) -> None:
        answer = server.api.patch(f"/api/v1/devices/{device}/desired", json={"values": wanted})
        assert answer.status_code == 200, answer.text

    def states() -> dict[str, str]:
        changed = server.api.get(f"/api/v1/devices/{device}/desired").json()["changed"]
        return {name: changed[name]["state"] for name in changed}

    # Wished before it was ever there.
    desire(heater=True)
    with board:
        board.online()
        eventually(lambda: board.level(HEATER) == 1)
        eventually(lambda: states() == {"heater": "agreed"})
        desire(heater=False, interval_s=15)
        eventually(lambda: states() == {"heater": "agreed", "interval_s": "agreed"})
        assert board.level(HEATER) == 0
        assert board.read("config.json")["interval_s"] == 15
        reported = server.api.get(f"/api/v1/devices/{device}/reported").json()["values"]
        assert reported == {"heater": False, "interval_s": 15, "firmware_version": "0.0.0"}
        # What it cannot be stays a wish.
        desire(colour="red")
        assert command(server, device, "ping")["state"] == "confirmed"
        assert states()["colour"] == "pending"


def test_a_server_that_is_gone_for_a_while_loses_nothing_and_stores_nothing_twice(app: Path, tmp_path: Path) -> None:
    began = int(time.time() * 1000) - 1000
    with RunningServer(tmp_path / "data") as server:
        board, device = climate(server, app, tmp_path, "02000a00d004", telemetry_ms=100)
        with board:
            board.online()
            eventually(lambda: len(values(server, device, "wifi_rssi")) >= 5)
            server.kill()
            time.sleep(3.5)
            server.restart()
            board.online(30, times=2)
            before = len(values(server, device, "wifi_rssi"))
            eventually(lambda: len(values(server, device, "wifi_rssi")) > before + 50, 20)
            points = server.points(device, "wifi_rssi", began, int(time.time() * 1000) + 60_000)
            gaps = [later[0] - sooner[0] for sooner, later in itertools.pairwise(points)]
            assert min(gaps) > 0
            assert max(gaps) < 1000, gaps


def test_the_status_says_when_it_is_gone(server: RunningServer, app: Path, tmp_path: Path) -> None:
    board, device = climate(server, app, tmp_path, "02000a00d005")
    with board, board.page() as page:
        board.online()
        eventually(lambda: server.api.get(f"/api/v1/devices/{device}").json()["online"])
        assert page.get("/api/status").json()["interval_s"] == 60
        assert "esp32-02000a00d005" in page.get("/").text
        board.kill()
        eventually(lambda: not server.api.get(f"/api/v1/devices/{device}").json()["online"], 20)


def test_a_running_climate_board_takes_less_than_24_kb_of_heap(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    assert heap(climate(server, app, tmp_path, "02000a00d006")[0]) < 24 * 1024
