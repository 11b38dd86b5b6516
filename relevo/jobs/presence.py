"""Who is there: follows every commit, tells what changed (:mod:`relevo.domain.presence`)."""

import asyncio
import contextlib
from typing import Final

from relevo.clock import Clock
from relevo.domain.devices import Registry
from relevo.domain.events import (
    AnyEvent,
    DeviceChanged,
    DeviceConnected,
    DeviceDisconnected,
    DeviceRegistered,
    DeviceRemoved,
    Noticed,
    PresenceChanged,
    ReadingShown,
    SensorsRead,
    StateReported,
    TelemetryReceived,
)
from relevo.domain.presence import Presence, Unstable, rule_of
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.pipeline import Pipeline

log = get_logger("relevo.jobs")

EVERY_S: Final = 1.0
_SAID: Final = frozenset({StateReported, SensorsRead})
_READINGS: Final = frozenset({TelemetryReceived, ReadingShown})
_REGISTRY: Final = frozenset({DeviceRegistered, DeviceChanged})
_CONNECTION: Final = frozenset({DeviceConnected, DeviceDisconnected})


class PresenceWatch:
    """Feeds the state machine and puts what it tells on the road."""

    def __init__(self, presence: Presence, registry: Registry, pipeline: Pipeline, clock: Clock) -> None:
        self._presence = presence
        self._registry = registry
        self._pipeline = pipeline
        self._clock = clock
        self._looking = False
        self._task = Background("presence")

    def load(self, told: dict[str, tuple[bool, int]]) -> None:
        """Take up who is registered and what was told before."""
        now = self._clock.now_ms()
        for device in self._registry.all():
            self._presence.know(device.id, rule_of(device.contract, device.attributes))
            online, since = told.get(device.id, (False, 0))
            self._presence.restore(device.id, online, since, 0, now)

    def start(self) -> None:
        self._task.begin(self._run())
        log.info("presence_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            log.info("presence_ended")

    def follow(self, first_seq: int, events: list[AnyEvent]) -> None:
        """After each commit, on the event loop."""
        presence = self._presence
        urgent = False
        for event in events:
            kind = type(event)
            if kind in _READINGS:
                presence.heard(event.device, event.received)  # type: ignore[union-attr]
            elif kind in _CONNECTION:
                presence.follow(event, event.at)  # type: ignore[union-attr]
                urgent = True
            elif kind in _SAID:
                presence.heard(event.device, event.at)  # type: ignore[union-attr]
            elif kind in _REGISTRY:
                device = self._registry.get(event.device)  # type: ignore[union-attr]
                if device is not None:
                    presence.know(device.id, rule_of(device.contract, device.attributes))
            elif kind is DeviceRemoved:
                presence.forget(event.device)  # type: ignore[union-attr]
        if (urgent or presence.waiting) and not self._looking:
            # At the end of this round: whoever connects and speaks at once is told once.
            self._looking = True
            asyncio.get_running_loop().call_soon(self._soon)

    def _soon(self) -> None:
        self._looking = False
        self.look()

    def look(self) -> None:
        """Tell what has to be told by now."""
        now = self._clock.now_ms()
        told: list[AnyEvent] = []
        for one in self._presence.look(now):
            if isinstance(one, Unstable):
                detail = f"{one.flaps} changes within ten minutes; further ones are told once they last a minute"
                told.append(Noticed(one.device, now, "presence_unstable", detail))
            else:
                told.append(PresenceChanged(one.device, now, one.online, one.since, one.reason))
        if told:
            self._pipeline.submit(told)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(EVERY_S)
            self.look()
