"""Rules and what is fed to them, short to write. Times in the tests are seconds after ``START``."""

from collections.abc import Iterable
from typing import Any

from relevo.domain.bulk import Selection
from relevo.domain.devices import Device
from relevo.domain.evaluator import Evaluator
from relevo.domain.events import StateReported, TelemetryReceived
from relevo.domain.firings import Fired, Input, Outcome, Presence
from relevo.domain.rules import Rule, compile_rule

START = 1_767_225_600_000


def device(name: str = "d", kind: str = "", site: str = "", tags: Iterable[str] = ()) -> Device:
    return Device(name, "native", name, name, kind, START, tags=list(tags), site=site)


def rule(condition: dict[str, Any], name: str = "r", cooldown_s: float = 0, scope: Selection | None = None) -> Rule:
    return Rule(name, name, "ana", condition, scope or Selection(), [], cooldown_s)


def ms(at: float) -> int:
    return START + round(at * 1000)


def says(at: float, name: str = "d", /, **values: Any) -> TelemetryReceived:
    return TelemetryReceived(name, ms(at), "device", ms(at), values)


def state(at: float, document: dict[str, Any], name: str = "d") -> StateReported:
    return StateReported(name, ms(at), document)


def online(at: float, is_online: bool, name: str = "d") -> Presence:
    return Presence(name, ms(at), is_online)


def evaluator(*rules: Rule, devices: Iterable[Device] = ()) -> Evaluator:
    found = Evaluator()
    for one in rules:
        found.put(compile_rule(one), START)
    for one in devices or (device(),):
        found.place(one, START)
    return found


def short(outcomes: list[Outcome]) -> list[str]:
    """``+12`` for a firing 12 seconds after the start, ``-15`` for its end."""
    return [f"{'+' if isinstance(one, Fired) else '-'}{(one.at - START) / 1000:g}" for one in outcomes]


def arrival(event: Input) -> int:
    return event.received if isinstance(event, TelemetryReceived) else event.at  # type: ignore[union-attr]


def run(followed: Evaluator, events: Iterable[Input], end: float | None = None) -> list[str]:
    """Feed events as they arrive, then let time pass to ``end``."""
    outcomes: list[Outcome] = []
    for event in events:
        outcomes += followed.feed(event, arrival(event))
    if end is not None:
        outcomes += followed.tick(ms(end))
    return short(outcomes)
