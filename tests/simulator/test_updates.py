"""Boards that take part in roll-outs, each with the outcome that was decided for it, at a real server."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from relevo.clock import SystemClock
from relevo.errors import ConfigurationError
from relevo.simulator import faults, outcomes
from relevo.simulator.gear import Gear, Tally
from relevo.simulator.mqtt_client import Login, MqttClient
from relevo.simulator.options import Options
from relevo.simulator.outcomes import Outcomes
from relevo.simulator.report import Report
from relevo.simulator.run import simulate
from relevo.simulator.updating import BoardUpdates, Owner, Unusable
from tests.boards import image
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.timeout(90)
EVERY = "bad=0.1,hash=0.1,stops=0.1,refuses=0.1,never=0.1,slow=0.1"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests."""
    with RunningServer(tmp_path_factory.mktemp("updated") / "data") as server:
        yield server


def states(server: RunningServer, rollout: str) -> Counter[str]:
    items = server.api.get(f"/api/v1/rollouts/{rollout}/devices", params={"limit": 500}).json()["items"]
    return Counter(one["state"] for one in items)


async def rolled_out(
    server: RunningServer, board: str, settled: dict[str, int], devices: int, **changes: object
) -> tuple[Report, Counter[str]]:
    """A simulation during which a release goes to all boards, until ``settled``; what it found, and the server."""
    values: dict[str, object] = {
        "http": server.http, "mqtt_port": server.mqtt_port, "password": ADMIN_PASSWORD, "progress": False,
        "devices": devices, "duration": 60.0, "trial": 0.2, "rate": 2.0, "per_device": True,
    }  # fmt: skip
    stop = asyncio.Event()
    simulation = asyncio.create_task(
        simulate(Options(**(values | changes)), stop=stop)  # type: ignore[arg-type]
    )
    found: Counter[str] = Counter()

    async def operate() -> None:
        data = image("2.0.0", board, filler=40_000)
        head = {"Content-Type": "application/x-tar"}
        release = (await asyncio.to_thread(server.api.post, "/api/v1/firmware", content=data, headers=head)).json()
        while True:
            page = (await asyncio.to_thread(server.api.get, "/api/v1/devices", params={"limit": 200})).json()["items"]
            there = [one["id"] for one in page if one["attributes"].get("firmware_board") == board]
            if len(there) == devices:
                break
            await asyncio.sleep(0.1)
        body = {"release": release["id"], "target": {"devices": there}, "waves": [100], "halt_percent": 100}
        made = (await asyncio.to_thread(server.api.post, "/api/v1/rollouts", json=body)).json()
        while settled.items() - found.items():
            found.clear()
            found.update(await asyncio.to_thread(states, server, made["id"]))
            await asyncio.sleep(0.1)

    operator = asyncio.create_task(operate())
    await asyncio.wait((operator, simulation), return_when=asyncio.FIRST_COMPLETED)
    # The last board hears that it was heard.
    await asyncio.sleep(0.3)
    stop.set()
    report = await simulation
    if not operator.done():
        operator.cancel()
    await asyncio.gather(operator, return_exceptions=True)
    return report, found


@pytest.mark.parametrize(("profile", "board"), [("climate", "climate"), ("relay16", "relay")])
async def test_every_outcome_is_what_the_server_says_of_that_board(
    running: RunningServer, profile: str, board: str
) -> None:
    wanted = {"updated": 5, "rolled_back": 1, "failed": 1, "refused": 1, "downloading": 1, "offered": 1}
    report, found = await rolled_out(running, board, wanted, 10, profile=profile, updates=outcomes.parse(EVERY))
    assert found == wanted
    assert report.problems == []
    assert (report.untrue, report.missing, report.duplicated) == (0, 0, 0), report.examples
    told = {key: count for key, count in report.updates.items() if key not in ("bytes", "withheld")}
    assert told.pop("offered") >= 10
    assert told == {"healthy": 5, "rolled_back": 1, "failed": 1, "refused": 1, "stopped": 1}
    # Five and the two bad ones have all of it.
    assert report.updates["bytes"] > 7 * 40_000


async def test_an_update_goes_on_while_connections_break(running: RunningServer) -> None:
    report, found = await rolled_out(
        running, "simulated", {"updated": 4}, 4, updates=outcomes.parse("slow"), faults=faults.parse(["storm=1.5"])
    )
    assert found == {"updated": 4}
    assert report.faults["storm"] >= 1
    assert (report.untrue, report.missing, report.duplicated, report.problems) == (0, 0, 0, []), report.examples


def board(key: str = "secret") -> BoardUpdates:
    mqtt = MqttClient(Login("127.0.0.1", 1, "d"))
    gear = Gear("http://127.0.0.1:1", "127.0.0.1", 1, SystemClock(), Tally())
    return BoardUpdates(Owner("d", "d", key, "relay"), "relevo/d", outcomes.HEALTHY, mqtt, gear, lambda: None)


def offer(key: str = "secret", **changes: Any) -> bytes:
    manifest = {
        "release": "relay-2.0.0", "device": "d", "version": "2.0.0", "board": "relay", "boot": 1, "mpy": 6, "size": 4,
        "sha256": hashlib.sha256(b"data").hexdigest(), "issued": 1_767_225_600,
    } | changes  # fmt: skip
    body = json.dumps(manifest, separators=(",", ":")).encode()
    derived = hmac.new(key.encode(), b"relevo-update-1", hashlib.sha256).digest()
    mac = hmac.new(derived, body, hashlib.sha256).hexdigest().encode()
    return b"relevo-update-1 hmac-sha256=" + mac + b" ed25519=" + base64.b64encode(bytes(64)) + b"\n" + body


async def test_a_board_takes_only_what_is_signed_and_meant_for_it() -> None:
    assert board().verified(offer())["version"] == "2.0.0"
    wrong: list[tuple[bytes, str]] = [
        (offer("another"), "signature"),
        (offer().replace(b"2.0.0", b"6.6.6"), "signature"),
        (offer(notes="x" * 2_000), "signature"),
        (b"nothing of the kind", "signature"),
        (offer(device="e"), "device"),
        (offer(board="meter"), "board"),
        (offer(boot=9), "boot"),
        (offer(mpy=5), "mpy"),
        (offer(issued=0), "issued"),
    ]
    for data, reason in wrong:
        with pytest.raises(Unusable, match=reason):
            board().verified(data)


def test_shares_of_outcomes_are_of_all_boards() -> None:
    fates = outcomes.parse("bad=0.2,slow=0.1").fates(3, 50)
    assert Counter(fates.values()) == {"healthy": 35, "bad": 10, "slow": 5}
    assert sorted(fates) == list(range(1, 51))
    assert fates == outcomes.parse("bad=0.2,slow=0.1").fates(3, 50)
    assert set(outcomes.parse("never").fates(1, 3).values()) == {"never"}
    assert outcomes.parse("healthy") == Outcomes((("healthy", 1.0),))


@pytest.mark.parametrize(
    ("text", "word"),
    [("explodes", "explodes"), ("bad=2", "0 to 1"), ("bad=x", "0 to 1"), ("bad=0.6,slow=0.6", "at most 1"),
     ("bad=0.1,bad=0.1", "twice"), ("", "no outcome")],
)  # fmt: skip
def test_outcomes_that_make_no_sense_are_named(text: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        outcomes.parse(text)


@pytest.mark.parametrize("profile", ["meter", "poller"])
def test_only_boards_that_ask_over_mqtt_take_part(profile: str) -> None:
    with pytest.raises(ConfigurationError, match="new firmware"):
        Options(profile=profile, password="p", updates=outcomes.parse("healthy")).check()
