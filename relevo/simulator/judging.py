"""What the server says of refusals, commands and updates, held against what the devices know themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Tally
from relevo.simulator.http_client import HttpClient
from relevo.simulator.mqtt_client import Delivery

# What is refused of somebody with a wrong key, and is no message.
_LOGINS: Final = frozenset(
    {"bad_credentials", "unknown_device", "too_many_attempts", "anonymous_closed", "mqtt_config_closed"}
)
# A command has ten seconds to be answered.
_IN_TIME_S: Final = 5.0
_ENDS: Final = {"healthy": "updated", "rolled_back": "rolled_back", "failed": "failed", "refused": "refused"}


@dataclass(frozen=True, slots=True)
class Counters:
    """What a server counted since it started, at ``started``."""

    started: str = ""
    refused: Mapping[str, int] = field(default_factory=dict)
    noticed: Mapping[str, int] = field(default_factory=dict)
    deduplicated: int = 0


@dataclass(slots=True)
class Judgement:
    """What the server counted meanwhile, and where it said something that is not so.

    ``uncounted`` are malformed messages that arrived and were not counted as refused; ``untrue`` are commands and
    updates of which the server says another end than the device. ``commands`` counts their states.
    """

    refused: dict[str, int] = field(default_factory=dict)
    noticed: dict[str, int] = field(default_factory=dict)
    deduplicated: int = 0
    uncounted: int = 0
    commands: dict[str, int] = field(default_factory=dict)
    untrue: int = 0
    examples: list[str] = field(default_factory=list)


async def counters(http: HttpClient) -> Counters:
    """As they are now. Raises :class:`HttpFailed`."""
    shown = (await http.get("/api/v1/system")).expect(200)
    held = shown["counters"]
    return Counters(shown["started_at"], held["refused"], held["noticed"], held["duplicates"])


async def judge(
    http: HttpClient,
    fleet: Sequence[SimulatedDevice],
    impostors: Sequence[SimulatedDevice],
    before: Counters,
    tally: Tally,
) -> Judgement:
    """Raises :class:`HttpFailed`. After a restart of the server its counts say nothing about what came before."""
    found = Judgement()
    after = await counters(http)
    whole = after.started == before.started
    found.refused = _grown(before.refused if whole else {}, after.refused)
    found.noticed = _grown(before.noticed if whole else {}, after.noticed)
    found.deduplicated = after.deduplicated - (before.deduplicated if whole else 0)
    if whole:
        counted = sum(n for name, n in found.refused.items() if name.partition(".")[2] not in _LOGINS)
        found.uncounted = max(0, tally.faults["malformed"] - counted)
    states: Counter[str] = Counter()
    for one in fleet:
        for order in one.orders:
            await _command(http, one, order, states, found)
        await _update(http, one, found)
    found.commands = dict(sorted(states.items()))
    for one in impostors:
        kept = (await http.get(f"/api/v1/devices/{one.enrolled.device}/latest")).expect(200)
        if kept:
            tally.let_in += 1
            found.examples.append(f"stored of {one.name}, which showed a wrong key: {str(kept)[:100]}")
    return found


async def _command(
    http: HttpClient, device: SimulatedDevice, order: str, states: Counter[str], found: Judgement
) -> None:
    state = (await http.get(f"/api/v1/devices/{device.enrolled.device}/commands/{order}")).expect(200)["state"]
    states[state] += 1
    if not device.answering:
        return
    answer = device.answers.get(order)
    if (answer is None and state == "confirmed") or (_in_time(answer) and state != "confirmed"):
        found.untrue += 1
        did = "answered" if answer else "heard" if order in device.answers else "never heard"
        found.examples.append(f"command {order} of {device.name} is {state}, the device {did} it")


def _in_time(answer: Delivery | None) -> bool:
    if answer is None or not answer.done.done() or answer.done.cancelled() or answer.done.exception():
        return False
    return answer.done.result() < _IN_TIME_S


async def _update(http: HttpClient, device: SimulatedDevice, found: Judgement) -> None:
    if device.updating is None or device.updating.said is None:
        return
    release, said = device.updating.said
    if said not in _ENDS:
        return
    shown = (await http.get(f"/api/v1/devices/{device.enrolled.device}/update")).expect(200)
    states: list[Any] = [one["state"] for one in shown["attempts"] if one["release"] == release]
    if _ENDS[said] not in states[:1]:
        found.untrue += 1
        found.examples.append(f"update of {device.name} to {release} is {states[:1]}, the device said {said}")


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
