"""Updates over the air between real firmware processes and the real server."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relevo.flashing import sources
from relevo.flashing import preparing
from tests.firmware.boards import needs_micropython, uuid_of
from tests.firmware.slots import Slotted, broken, image, keys_for, profile
from tests.journeys.live import eventually
from tests.running import RunningServer

pytestmark = needs_micropython
TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture
def boards(server: RunningServer, tmp_path: Path) -> Iterator[Any]:
    """``boards(n)`` are ``n`` boards that run 1.0.0 and that the server knows to be relay boards."""
    made: list[Slotted] = []

    def make(count: int, first: int, **settings: Any) -> list[Slotted]:
        numbers = range(first, first + count)
        keys = keys_for(server, [uuid_of(f"02000a{number:06x}") for number in numbers])
        for number, key in zip(numbers, keys, strict=True):
            made.append(Slotted(server, tmp_path, number, key, "1.0.0", **settings).start())
        eventually(lambda: len(known(server, made)) == len(made), 60)
        return made

    yield make
    for one in made:
        one.stop()


def known(server: RunningServer, boards: list[Slotted]) -> dict[str, str]:
    """Ids of those that said what they are, by uuid."""
    items = server.api.get("/api/v1/devices", params={"limit": 200}).json()["items"]
    named = {one["external_id"]: one for one in items if one["attributes"].get("firmware_board")}
    return {one.uuid: named[one.uuid]["id"] for one in boards if one.uuid in named}


def begin(server: RunningServer, data: bytes, boards: list[Slotted], **more: Any) -> str:
    """A roll-out of an image to these boards; its id."""
    kept = server.api.post("/api/v1/firmware", content=data, headers=TAR)
    assert kept.status_code == 201, kept.text
    body = {"release": kept.json()["id"], "target": {"devices": list(known(server, boards).values())}, "waves": [100]}
    begun = server.api.post("/api/v1/rollouts", json=body | more)
    assert begun.status_code == 201, begun.text
    return str(begun.json()["id"])


def progress(server: RunningServer, rollout: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = server.api.get(f"/api/v1/rollouts/{rollout}/devices", params={"limit": 100}).json()[
        "items"
    ]
    return items


def states(server: RunningServer, rollout: str) -> Counter[str]:
    return Counter(one["state"] for one in progress(server, rollout))


def test_a_board_gets_another_release_and_keeps_it(server: RunningServer, boards: Any) -> None:
    key = server.api.get("/api/v1/firmware/key").json()["key"]
    (board,) = boards(1, 0x100, update_key=key)
    rollout = begin(server, image("1.1.0"), [board])
    eventually(lambda: states(server, rollout) == {"updated": 1}, 60)
    eventually(lambda: server.api.get(f"/api/v1/rollouts/{rollout}").json()["state"] == "done", 10)
    device = server.api.get(f"/api/v1/devices/{known(server, [board])[board.uuid]}").json()
    assert device["attributes"]["firmware_version"] == "1.1.0"
    assert (board.flash / "b" / "app.mpy").exists()
    # It stays after the power went.
    board.cut()
    eventually(lambda: board.starts == 3, 10)
    eventually(lambda: board.said().count("state: online") == 3, 20)
    assert states(server, rollout) == {"updated": 1}


def test_a_board_with_another_servers_update_key_refuses(server: RunningServer, boards: Any) -> None:
    (board,) = boards(1, 0x140, update_key="A" * 43 + "=")
    rollout = begin(server, image("1.1.3"), [board])
    eventually(lambda: states(server, rollout) == {"refused": 1}, 60)
    assert progress(server, rollout)[0]["reason"] == "signature"
    assert board.starts == 1 and not (board.flash / "b").exists()


def test_the_power_goes_in_the_middle_and_the_download_goes_on(server: RunningServer, boards: Any) -> None:
    (board,) = boards(1, 0x180)
    # Large, so that it takes a while.
    rollout = begin(server, image("1.1.1", more={"padding.txt": bytes(700_000)}), [board])
    eventually(lambda: re.search(r"'percent': [2-9]\d", board.said()), 30)
    board.cut()
    eventually(lambda: states(server, rollout) == {"updated": 1}, 60)
    before, _, after = board.said().partition("'state': 'downloading'")[2].partition("'state': 'accepted'")
    told = [int(one) for one in re.findall(r"'percent': (\d+)", after)]
    assert told[0] >= 20, board.said()


def test_a_board_without_http_gets_it_over_mqtt(server: RunningServer, boards: Any) -> None:
    (board,) = boards(1, 0x200)
    # Credentials of its own stand on its flash by now: the server's HTTP is not needed any more.
    config = json.loads((board.flash / "config.json").read_text())
    assert config.pop("mqtt_broker") == "127.0.0.1" and config.pop("check")
    (board.flash / "config.json").write_text(json.dumps(config | {"mqtt_broker": "127.0.0.1", "backend_ip": ""}))
    (board.flash / "config.bak").unlink()
    board.cut()
    eventually(lambda: board.said().count("state: online") >= 2, 20)
    rollout = begin(server, image("1.1.2"), [board])
    eventually(lambda: states(server, rollout) == {"updated": 1}, 60)


def test_a_board_that_resets_again_and_again_starts_safely_and_is_mended_by_an_update(
    server: RunningServer, boards: Any
) -> None:
    (board,) = boards(1, 0x240)
    # From now on it resets itself as soon as it lives.
    source = sources.module("session").read_text()
    ends = "import sys\n\nasync def live(self):\n    sys.exit(3)\n\nSession.live = live\n"
    (board.flash / "a" / "session.py").write_text(f"{source}\n{ends}")
    board.cut()
    board.waits_for("state: safe", 60)
    starts = board.starts
    assert not (board.flash / "b").exists()
    rollout = begin(server, image("1.2.0"), [board])
    eventually(lambda: states(server, rollout) == {"updated": 1}, 60)
    # The way into the new application was the only start since.
    assert board.starts == starts + 1
    assert board.said().rstrip().splitlines()[-1].startswith("update ")


def test_twenty_boards_a_bad_image_in_the_second_wave(server: RunningServer, boards: Any) -> None:
    fleet = boards(20, 0x300)
    ids = known(server, fleet)
    more = {"waves": [25, 60, 100], "halt_percent": 20, "halt_least": 3, "wave_pause_s": 0}
    rollout = begin(server, image("2.0.0", more=broken("revision-b")), fleet, **more)
    planned = {one["device"]: one["wave"] for one in progress(server, rollout)}
    assert Counter(planned.values()) == {1: 5, 2: 7, 3: 8}
    # What makes the release fail is only on boards of the second wave and the third.
    for board in fleet:
        if planned[ids[board.uuid]] > 1:
            (board.flash / "revision-b").touch()

    def halted() -> bool:
        return bool(server.api.get(f"/api/v1/rollouts/{rollout}").json()["state"] == "halted")

    eventually(halted, 90)
    # Those that were offered it in the second wave come to an end; the third was never begun.
    eventually(lambda: not states(server, rollout).keys() & {"offered", "downloading", "trial"}, 90)
    found = {wave: Counter() for wave in (1, 2, 3)}  # type: dict[int, Counter[str]]
    for one in progress(server, rollout):
        found[one["wave"]][one["state"]] += 1
    assert found[1] == {"updated": 5}
    assert found[2]["rolled_back"] >= 3 and set(found[2]) <= {"rolled_back", "waiting"}
    assert found[3] == {"waiting": 8}
    bad = [one for one in progress(server, rollout) if one["state"] == "rolled_back"]
    assert all("revision revision-b" in one["reason"] for one in bad)
    for board in fleet:
        wave = planned[ids[board.uuid]]
        state = next(one["state"] for one in progress(server, rollout) if one["device"] == ids[board.uuid])
        if wave == 1:
            assert board.starts == 2
        elif state == "rolled_back":
            # Once into it, three trials of which the last two are resets, and back.
            assert board.starts == 5
            board.waits_for("'state': 'rolled_back'")
        else:
            assert board.starts == 1, "an untouched board was restarted"
    versions = Counter(
        server.api.get(f"/api/v1/devices/{one}").json()["attributes"]["firmware_version"] for one in ids.values()
    )
    assert versions == {"1.0.0": 15, "2.0.0": 5}


@pytest.mark.parametrize(("name", "number", "more"), [
    ("meter", 0x501, {}), ("climate", 0x502, {}), ("climate", 0x503, {"backend_ip": ""}), ("poller", 0x504, {}),
])  # fmt: skip
def test_boards_of_other_contracts_get_theirs(
    server: RunningServer, tmp_path: Path, name: str, number: int, more: dict[str, Any]
) -> None:
    contract = profile(name).contract
    (key,) = keys_for(server, [preparing.identity(contract, f"02000a{number:06x}")], contract)
    public = server.api.get("/api/v1/firmware/key").json()["key"]
    board = Slotted(server, tmp_path, number, key, "1.0.0", name=name, update_key=public, **more).start()
    try:
        eventually(lambda: known(server, [board]), 60)
        rollout = begin(server, image(f"1.1.{number}", name=name), [board])
        if name == "poller":
            # Nobody can tell it to look; it does when it starts, and every six hours.
            board.cut()
        eventually(lambda: states(server, rollout) == {"updated": 1}, 90)
        assert (board.flash / "b" / "app.mpy").exists()
        assert "failure:" not in board.said()
    finally:
        print(board.said()[-3000:])
        board.stop()
