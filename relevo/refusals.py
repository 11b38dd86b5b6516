"""What was not let in: counted at once, told in the timeline at most once a second for each kind.

A board that sends rubbish a thousand times a second must not write a thousand lines, and nothing may be refused
without a trace; so the first of a kind is told at once and those of the following second together.
"""

import asyncio
from collections import Counter
from typing import Final

from relevo.clock import Clock
from relevo.domain.events import AnyEvent, DeviceRemoved, Noticed, Refused, UnclaimedSeen
from relevo.pipeline import Pipeline
from relevo.redaction import redact, redact_value

_FOLD_S: Final = 1.0
# A board without a clock is noticed with every reading; that is one fact, not a story.
_NOTICE_FOLD_S: Final = 60.0
# Beyond this many kinds within one second the rest is told under the door's name; only a flood gets there.
_KINDS: Final = 2_000
_DETAIL: Final = 300

_Key = tuple[str, str, str]


class Refusals:
    """One for the whole process, used on the event loop."""

    def __init__(self, pipeline: Pipeline, clock: Clock) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._held: dict[_Key, tuple[AnyEvent, int]] = {}
        # When a kind may be told again (monotonic seconds).
        self._due: dict[_Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        # (where, reason) -> how often since start
        self.counts: Counter[tuple[str, str]] = Counter()
        self.notices: Counter[str] = Counter()

    def refuse(self, device: str, where: str, reason: str, detail: str, address: str = "", count: int = 1) -> None:
        """Count and tell a refusal. ``device`` is empty when it concerns the door, ``where`` is mqtt or http."""
        self.counts[where, reason] += count
        if len(self._due) >= _KINDS:
            device = ""
        self._tell(
            (device, where, reason),
            Refused(device, self._clock.now_ms(), where, reason, detail[:_DETAIL], address, count),
            count,
        )

    def notice(self, device: str, kind: str, detail: str) -> None:
        """Count and tell something that lost nothing, such as a repaired clock."""
        self.notices[kind] += 1
        if device:
            self._tell((device, "", kind), Noticed(device, self._clock.now_ms(), kind, detail[:_DETAIL]))

    def unclaimed(self, seen: UnclaimedSeen) -> None:
        """Tell of somebody who is not in the registry."""
        if seen.standing != "blocked":
            # The door counts what it refuses of a blocked one.
            self.counts["unclaimed", seen.reason] += 1
        key = (f"{seen.contract}\n{seen.external_id}", "", "unclaimed")
        # In a flood of strangers the newest stands for all.
        self._tell(key if key in self._due or len(self._due) < _KINDS else ("", "", "unclaimed"), seen)

    def follow(self, event: AnyEvent) -> None:
        """What is held back of a device that is gone is not told: it would be told of whoever has its id next."""
        if isinstance(event, DeviceRemoved):
            for key in [key for key in self._due if key[0] == event.device]:
                del self._due[key]
                self._held.pop(key, None)

    def _tell(self, key: _Key, event: AnyEvent, count: int = 1) -> None:
        now = self._clock.monotonic()
        if key in self._due:
            held = self._held.get(key)
            self._held[key] = (event, held[1] + count if held else count)
            return
        self._due[key] = now + (_NOTICE_FOLD_S if isinstance(event, Noticed) else _FOLD_S)
        self._pipeline.submit((_redacted(event),))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FOLD_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for key in [key for key, due in self._due.items() if due <= now]:
            del self._due[key]
            held = self._held.pop(key, None)
            if held is not None:
                self._submit(*held)
                self._due[key] = now + (_NOTICE_FOLD_S if isinstance(held[0], Noticed) else _FOLD_S)
        if self._due:
            self._timer = asyncio.get_running_loop().call_later(_FOLD_S, self._flush)

    def _submit(self, event: AnyEvent, count: int) -> None:
        if isinstance(event, Refused | Noticed | UnclaimedSeen):
            event.count = count
        self._pipeline.submit((_redacted(event),))

    def stop(self) -> None:
        """Tell what is held back, before the road closes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for event, count in self._held.values():
            self._submit(event, count)
        self._held.clear()


def _redacted(event: AnyEvent) -> AnyEvent:
    """Only what is really told is looked through: a flood is counted at full speed."""
    if isinstance(event, Refused | Noticed):
        event.detail = redact(event.detail)
    elif isinstance(event, UnclaimedSeen):
        event.payload = redact_value("payload", event.payload)
    return event
