"""Rules that set themselves off: what a rule does to a device makes it fire again, alone or by way of other rules.

A command or a desired change with the origin ``rule:ID`` marks its device for a minute with that rule and with those
that led to it. A rule that fires because of a device marked with the rule itself has gone round once. It cannot be
told whether the mark was the cause, so a rule that is meant to act often on the device it watches needs a cooldown.
"""

from collections import deque
from typing import Final

import msgspec

LIMIT: Final = 5
WINDOW_MS: Final = 60_000
_ORIGIN: Final = "rule:"


class Looped(msgspec.Struct, frozen=True):
    """A rule went round ``count`` times within ``window_ms``, last at ``device``; ``chain`` are the rules involved."""

    rule: str
    device: str
    at: int
    count: int
    window_ms: int
    chain: tuple[str, ...]


class LoopGuard:
    """Counts rounds. Not safe for threads; what is older than the window is forgotten."""

    def __init__(self, limit: int = LIMIT, window_ms: int = WINDOW_MS) -> None:
        self._limit = limit
        self._window_ms = window_ms
        # Device to rule to when it last acted there; rule to those that led to its last firing.
        self._marks: dict[str, dict[str, int]] = {}
        self._led: dict[str, dict[str, int]] = {}
        self._rounds: dict[str, deque[int]] = {}
        self._swept = 0

    def acted(self, device: str, origin: str, at: int) -> None:
        """Somebody changed a device at ``at`` (milliseconds UTC); other origins than rules are of no interest."""
        if not origin.startswith(_ORIGIN):
            return
        self._sweep(at)
        rule = origin.removeprefix(_ORIGIN)
        marks = self._marks.setdefault(device, {})
        for one in (rule, *self._recent(self._led.get(rule, {}), at)):
            marks[one] = at

    def fired(self, rule: str, device: str, at: int) -> Looped | None:
        """Note a firing; an answer when the rule has gone round more than ``limit`` times and has to be disabled."""
        self._sweep(at)
        led = dict.fromkeys(self._recent(self._marks.get(device, {}), at), at)
        self._led[rule] = led
        if rule not in led:
            return None
        rounds = self._rounds.setdefault(rule, deque())
        rounds.append(at)
        while at - rounds[0] > self._window_ms:
            rounds.popleft()
        if len(rounds) <= self._limit:
            return None
        count = len(rounds)
        self.forget(rule)
        return Looped(rule, device, at, count, self._window_ms, tuple(sorted(led)))

    def forget(self, rule: str) -> None:
        """Begin anew with a rule that was disabled or changed."""
        self._rounds.pop(rule, None)
        self._led.pop(rule, None)
        for marks in self._marks.values():
            marks.pop(rule, None)

    def _recent(self, times: dict[str, int], at: int) -> list[str]:
        return [one for one, when in times.items() if at - when <= self._window_ms]

    def _sweep(self, at: int) -> None:
        if abs(at - self._swept) <= self._window_ms:
            return
        self._swept = at
        for table in (self._marks, self._led):
            for name in list(table):
                table[name] = {one: table[name][one] for one in self._recent(table[name], at)}
                if not table[name]:
                    del table[name]
        self._rounds = {rule: times for rule, times in self._rounds.items() if at - times[-1] <= self._window_ms}
