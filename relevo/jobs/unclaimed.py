"""Devices that registered by themselves, that nobody claimed and that fell silent: they go after a day.

Only contracts whose devices wait in the registry (:class:`relevo.dialect.Introduces`). One that somebody made by hand
and that was never heard stays.
"""

import asyncio
from typing import Final

from relevo.clock import Clock
from relevo.dialect import Dialect, Introduces
from relevo.domain.claims import ClaimCode, Screening, identity_key
from relevo.domain.credentials import Credential
from relevo.domain.devices import Device, Registry, is_claimed
from relevo.domain.events import Audited, DeviceRemoved
from relevo.domain.grants import Grant
from relevo.domain.joining import Claims
from relevo.domain.keyring import Keyring
from relevo.domain.people import People
from relevo.domain.presence import Presence
from relevo.domain.records import Dropped
from relevo.errors import QueueFull, StoreUnavailable
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.pipeline import Entry, Pipeline

log = get_logger("relevo.jobs")

EVERY_S: Final = 60.0
SILENT_MS: Final = 86_400_000
_SELF: Final = "relevo"


class SilentUnclaimed:
    """Looks once a minute."""

    def __init__(
        self,
        registry: Registry,
        presence: Presence,
        dialects: dict[str, Dialect],
        people: People,
        keyring: Keyring,
        claims: Claims,
        pipeline: Pipeline,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._presence = presence
        self._contracts = frozenset(name for name, one in dialects.items() if isinstance(one, Introduces))
        self._people = people
        self._keyring = keyring
        self._claims = claims
        self._pipeline = pipeline
        self._clock = clock
        self._task = Background("unclaimed")

    def start(self) -> None:
        self._task.begin(self._run())
        log.info("unclaimed_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            log.info("unclaimed_ended")

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except (QueueFull, StoreUnavailable) as error:
                log.warning("unclaimed_waits", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Remove what is silent for a day by now. Raises :class:`QueueFull` or :class:`StoreUnavailable`."""
        before = self._clock.now_ms() - SILENT_MS
        waiting = [one for contract in sorted(self._contracts) for one in self._registry.of_contract(contract)]
        for device in waiting:
            if not is_claimed(device) and self._silent_since(device, before):
                await self._pipeline.accept(self._end(device))
                log.info("unclaimed_removed", device=device.id)

    def _silent_since(self, device: Device, before: int) -> bool:
        since = self._presence.since(device.id)
        return not self._presence.online(device.id) and 0 < since <= before

    def _end(self, device: Device) -> list[Entry]:
        now, identity = self._clock.now_ms(), (device.contract, device.external_id)
        return [
            DeviceRemoved(device.id, now, _SELF),
            *(Dropped(Credential, one.id) for one in self._keyring.of_device(device.id)),
            *(Dropped(Grant, one.id) for one in self._people.shares_of_device(device.id)),
            *(Dropped(ClaimCode, one.id) for one in self._claims.codes_of(*identity)),
            Dropped(Screening, identity_key(*identity)),
            Audited(now, _SELF, "device.delete", device.id, {"why": "nobody claimed it and it was silent for a day"}),
        ]
