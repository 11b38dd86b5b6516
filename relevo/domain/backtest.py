"""What a rule would have done: stored events through the evaluator that live events go through."""

from collections.abc import Iterable

import msgspec

from relevo.domain.devices import Device
from relevo.domain.evaluator import Evaluator
from relevo.domain.events import StateReported, TelemetryReceived
from relevo.domain.firings import Fired, Input, Outcome, Presence
from relevo.domain.rules import Rule, compile_rule

_TAKEN = frozenset({TelemetryReceived, StateReported, Presence})


class Firing(msgspec.Struct, frozen=True):
    """A rule was true of a device from ``begin`` to ``end`` (milliseconds UTC), ``None`` while it still is."""

    rule: str
    device: str
    since: int
    begin: int
    end: int | None
    values: dict[str, object]


def arrived(event: Input) -> int:
    """When an event arrived (milliseconds UTC)."""
    if isinstance(event, TelemetryReceived):
        return event.received or event.ts
    return int(getattr(event, "at", 0))


def backtest(
    rule: Rule, events: Iterable[Input], devices: Iterable[Device], begin: int | None = None, end: int | None = None
) -> list[Firing]:
    """The firings of ``rule`` over ``events``, which come in the order of their arrival, oldest firing first.

    Between ``begin`` and ``end`` (milliseconds UTC; else the first and the last event) time passes also where nothing
    was said. A rule that is disabled is tried as if it were not. Raises :class:`relevo.errors.Invalid`.
    """
    compiled = compile_rule(msgspec.structs.replace(rule, enabled=True))
    evaluator = Evaluator()
    firings: list[Firing] = []
    open_at: dict[str, int] = {}
    now = begin

    def note(outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Fired):
                open_at[outcome.device] = len(firings)
                at = outcome.at
                firings.append(Firing(rule.id, outcome.device, outcome.since, at, None, outcome.values))
            else:
                n = open_at.pop(outcome.device)
                firings[n] = msgspec.structs.replace(firings[n], end=outcome.at)

    def start(at: int) -> None:
        note(evaluator.put(compiled, at))
        for device in devices:
            note(evaluator.place(device, at))

    if now is not None:
        start(now)
    for event in events:
        if type(event) not in _TAKEN:
            continue
        if now is None:
            now = arrived(event)
            start(now)
        now = max(now, arrived(event))
        note(evaluator.feed(event, now))
    if now is not None and end is not None:
        note(evaluator.tick(end))
    return firings
