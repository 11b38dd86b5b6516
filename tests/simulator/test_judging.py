"""What the server says is held against what the devices know, and every contradiction is found."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Tally
from relevo.simulator.http_client import Answer, HttpClient
from relevo.simulator.judging import Counters, Judgement, judge
from relevo.simulator.mqtt_client import Delivery


class Said:
    """A server that says this on these paths."""

    def __init__(self, answers: dict[str, Any], refused: dict[str, int], started: str = "then") -> None:
        counted = {"refused": refused, "noticed": {"clock_future": 2}, "duplicates": 5}
        self.answers = {"/api/v1/system": {"started_at": started, "counters": counted}} | answers

    async def get(self, path: str, query: object = None) -> Answer:
        return Answer(200, self.answers[path])


def device(orders: dict[str, str], said: tuple[str, str] | None = None, answering: bool = True) -> SimulatedDevice:
    """``orders``: what became of each command at the device."""
    answers: dict[str, Delivery | None] = {}
    for order, fate in orders.items():
        if fate == "answered":
            done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            done.set_result(0.1)
            answers[order] = Delivery(b"", 0.0, done, 1)
        elif fate == "heard":
            answers[order] = None
    updating = SimpleNamespace(said=said) if said else None
    made = SimpleNamespace(
        name="d", enrolled=Enrolled("d", "d"), orders=list(orders), answers=answers, answering=answering,
        updating=updating,
    )  # fmt: skip
    return cast(SimulatedDevice, made)


async def judged(
    server: Said, fleet: list[SimulatedDevice], tally: Tally | None = None, impostors: tuple[SimulatedDevice, ...] = ()
) -> Judgement:
    before = Counters("then", {"mqtt.json_malformed": 1}, {}, 1)
    return await judge(cast(HttpClient, server), fleet, impostors, before, tally or Tally())


def commands(**states: str) -> dict[str, Any]:
    return {f"/api/v1/devices/d/commands/{order}": {"state": state} for order, state in states.items()}


async def test_commands_that_ended_as_the_device_says_are_true() -> None:
    server = Said(commands(one="confirmed", two="timed_out", three="expired"), {})
    found = await judged(server, [device({"one": "answered", "two": "heard", "three": "never"})])
    assert (found.untrue, found.commands) == (0, {"confirmed": 1, "expired": 1, "timed_out": 1})
    assert found.deduplicated == 4


async def test_a_command_that_nobody_answered_may_not_be_confirmed() -> None:
    for fate in ("heard", "never"):
        found = await judged(Said(commands(one="confirmed"), {}), [device({"one": fate})])
        assert found.untrue == 1
        assert fate in found.examples[0]
    # Where a state is the proof, an answer is none.
    found = await judged(Said(commands(one="confirmed"), {}), [device({"one": "never"}, answering=False)])
    assert found.untrue == 0


async def test_a_command_that_was_answered_in_time_has_to_be_confirmed() -> None:
    found = await judged(Said(commands(one="timed_out"), {}), [device({"one": "answered"})])
    assert found.untrue == 1


async def test_rubbish_that_was_not_counted_is_found_and_logins_do_not_make_up_for_it() -> None:
    tally = Tally()
    tally.faults["malformed"] = 3
    server = Said({}, {"mqtt.json_malformed": 3, "mqtt.bad_credentials": 9})
    found = await judged(server, [], tally)
    assert found.refused == {"mqtt.json_malformed": 2, "mqtt.bad_credentials": 9}
    assert found.uncounted == 1
    # Since a restart nobody knows what was counted before.
    assert (await judged(Said({}, {}, "later"), [], tally)).uncounted == 0


async def test_a_reading_of_somebody_with_a_wrong_key_is_found() -> None:
    tally = Tally()
    path = "/api/v1/devices/d/latest"
    await judged(Said({path: {}}, {}), [], tally, (device({}),))
    assert tally.let_in == 0
    await judged(Said({path: {"t": {"value": 1}}}, {}), [], tally, (device({}),))
    assert tally.let_in == 1


async def test_an_update_ends_as_the_board_said() -> None:
    path = "/api/v1/devices/d/update"
    for state, said, untrue in (("updated", "healthy", 0), ("updated", "rolled_back", 1), ("trial", "healthy", 1)):
        server = Said({path: {"attempts": [{"release": "relay-2.0.0", "state": state}]}}, {})
        assert (await judged(server, [device({}, ("relay-2.0.0", said))])).untrue == untrue
    # What is on its way has no end yet.
    assert (await judged(Said({}, {}), [device({}, ("relay-2.0.0", "trial"))])).untrue == 0
