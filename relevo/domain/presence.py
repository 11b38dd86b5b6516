"""Whether a device is there: one state machine for every contract.

Theory. A device is *there* by its connection, or because it was heard not long ago; which of both counts, and how long
silence may last, is a matter of its contract (:data:`RULES`) and of how often it is expected (``expected_every_s``
among its attributes: three times that). Its own word that it leaves, a last will among them, counts at once, until it
is heard again.

What is told changes less often than what is true. A device that comes and goes (:data:`FLAPS` changes within ten
minutes) is *unstable*: from then on a change is told only after it has lasted a minute, until it has been steady for
ten. After a start of the server every device that was there is believed to be for as long as its silence may last:
a restart makes nobody leave.

Nothing is written for a message: the state lives in memory and only a change becomes an event.
"""

import heapq
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from relevo.domain.events import AnyEvent, DeviceConnected, DeviceDisconnected

EXPECTED: Final = "expected_every_s"
INTERVALS: Final = 3
FLAPS: Final = 6
FLAP_WINDOW_MS: Final = 600_000
STEADY_MS: Final = 60_000


class Rule(NamedTuple):
    """How a contract's devices are known to be there: silence in milliseconds, whether a connection is enough."""

    silence_ms: int
    connection_counts: bool


RULES: Final[dict[str, Rule]] = {
    # Sections 6, 5, 3 and 7 of the contracts: what was heard decides, a connection that says nothing does not.
    "autocore": Rule(90_000, False),
    "hidrometro": Rule(60_000, False),
    "thingsnxt": Rule(20_000, False),
    "alchemy": Rule(30_000, False),
    "emqx": Rule(90_000, False),
}
# Contracts whose devices may be silent for at least as long as their rule says, however often they are expected.
_AT_LEAST: Final = frozenset({"alchemy", "emqx"})
_OTHERS: Final = Rule(60_000, True)


class Change(NamedTuple):
    """What is to be told: ``since`` is when it became so (milliseconds UTC), ``reason`` a stable code."""

    device: str
    online: bool
    since: int
    reason: str


class Unstable(NamedTuple):
    """A device that comes and goes so often that its changes are told late from now on."""

    device: str
    flaps: int


class _State:
    __slots__ = (
        "connected",
        "flaps",
        "gone",
        "heard",
        "left",
        "reason",
        "rule",
        "since",
        "told",
        "told_since",
        "true",
        "unstable",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.connected = False
        # It said that it leaves, and nothing since.
        self.left = False
        self.heard = 0
        self.true = False
        self.since = 0
        self.reason = ""
        # How its last connection ended, or its own word.
        self.gone = ""
        self.told = False
        self.told_since = 0
        self.flaps: deque[int] = deque(maxlen=FLAPS)
        self.unstable = False


def rule_of(contract: str, attributes: Mapping[str, Any]) -> Rule:
    """The rule of one device. ``expected_every_s`` counts when it is a number of seconds above 0."""
    rule = RULES.get(contract, _OTHERS)
    every = attributes.get(EXPECTED)
    if isinstance(every, int | float) and not isinstance(every, bool) and 0 < every < 1e8:
        silence = round(every * 1000 * INTERVALS)
        return Rule(max(silence, rule.silence_ms) if contract in _AT_LEAST else silence, False)
    return rule


class Presence:
    """Every device. Fed with what happens; :meth:`look` says what has to be told."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        # (when, device): when silence or steadiness has to be looked at; entries may be out of date.
        self._due: list[tuple[int, str]] = []
        self._changed: set[str] = set()

    def know(self, device: str, rule: Rule) -> None:
        """A device exists, or its rule changed."""
        state = self._states.get(device)
        if state is None:
            self._states[device] = _State(rule)
        elif state.rule != rule:
            state.rule = rule
            self._changed.add(device)

    def restore(self, device: str, online: bool, since: int, heard: int, now: int) -> None:
        """What was told before the server was started, at ``now``."""
        state = self._states[device]
        state.told = state.true = online
        state.told_since = state.since = since
        # It has the time of its silence, from now on, to be heard again.
        state.heard = now if online else heard
        if online:
            self._watch(device, state)

    def forget(self, device: str) -> None:
        """The device is gone."""
        self._states.pop(device, None)

    def online(self, device: str) -> bool:
        """What is told."""
        state = self._states.get(device)
        return state is not None and state.told

    def since(self, device: str) -> int:
        """Since when that is so (milliseconds UTC), 0 for never told."""
        state = self._states.get(device)
        return state.told_since if state is not None else 0

    def heard_at(self, device: str) -> int:
        """When it was last heard (milliseconds UTC), 0 for never in this run."""
        state = self._states.get(device)
        return state.heard if state is not None else 0

    def heard(self, device: str, at: int) -> None:
        """It said something."""
        state = self._states.get(device)
        if state is None:
            return
        state.heard = at
        if not state.true or state.left:
            state.left = False
            self._changed.add(device)

    def follow(self, event: AnyEvent, at: int) -> None:
        """It connected or went, by the door's own knowledge or by its own word (``status``, ``announce``)."""
        if isinstance(event, DeviceConnected):
            state = self._states.get(event.device)
            if state is not None and event.via == "mqtt":
                state.connected = True
                state.left = False
                self._changed.add(event.device)
                # A connection is heard too, where that is what counts.
                state.heard = max(state.heard, at)
            else:
                self.heard(event.device, at)
        elif isinstance(event, DeviceDisconnected):
            state = self._states.get(event.device)
            if state is None:
                return
            if event.reason == "status":
                state.left = True
            else:
                state.connected = False
                if state.rule.connection_counts:
                    # It was there by its connection; what it said before does not keep it.
                    state.heard = 0
            state.gone = event.reason
            self._changed.add(event.device)

    def look(self, now: int) -> list[Change | Unstable]:
        """What has to be told by ``now``."""
        while self._due and self._due[0][0] <= now:
            self._changed.add(heapq.heappop(self._due)[1])
        if not self._changed:
            return []
        found: list[Change | Unstable] = []
        changed, self._changed = self._changed, set()
        for device in sorted(changed):
            state = self._states.get(device)
            if state is not None:
                self._decide(device, state, now, found)
        return found

    @property
    def waiting(self) -> bool:
        """Whether something happened that :meth:`look` has not seen."""
        return bool(self._changed)

    def next_at(self) -> int | None:
        """When :meth:`look` has something to say at the latest (milliseconds UTC), ``None`` for never."""
        return self._due[0][0] if self._due else None

    def _decide(self, device: str, state: _State, now: int, found: "list[Change | Unstable]") -> None:
        silent = not state.heard or now - state.heard > state.rule.silence_ms
        connected = state.connected and state.rule.connection_counts
        true = not state.left and (connected or not silent)
        if true != state.true:
            if true:
                state.reason = "connected" if connected else "heard"
            elif not state.left and not (state.rule.connection_counts and state.gone):
                state.reason = "silent"
            else:
                state.reason = state.gone
            state.true = true
            state.since = state.heard + state.rule.silence_ms if state.reason == "silent" else now
            state.flaps.append(now)
            if len(state.flaps) == FLAPS and now - state.flaps[0] <= FLAP_WINDOW_MS and not state.unstable:
                state.unstable = True
                found.append(Unstable(device, FLAPS))
        if state.told != state.true and not (state.unstable and now - state.flaps[-1] < STEADY_MS):
            state.told, state.told_since = state.true, state.since
            found.append(Change(device, state.true, state.since, state.reason))
        if state.unstable and now - state.flaps[-1] > FLAP_WINDOW_MS:
            state.unstable = False
        self._watch(device, state)

    def _watch(self, device: str, state: _State) -> None:
        """Look again when silence or steadiness may have decided."""
        times = []
        if state.true and not (state.connected and state.rule.connection_counts):
            times.append(state.heard + state.rule.silence_ms + 1)
        if state.told != state.true:
            times.append(state.flaps[-1] + STEADY_MS)
        elif state.unstable:
            times.append(state.flaps[-1] + FLAP_WINDOW_MS + 1)
        if times:
            heapq.heappush(self._due, (min(times), device))
