"""Credentials that end by themselves: a key after its time of grace, a certificate on its last day.

A connection proves itself once, when it begins, so somebody has to look again when time has passed. What has expired is
kept for a month, so that a board which still shows it is told apart from a stranger, and then dropped.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from relevo.clock import Clock
from relevo.domain.credentials import Credential
from relevo.domain.keyring import Keyring
from relevo.domain.records import Dropped
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.pipeline import Pipeline

log = get_logger("relevo.jobs")

EVERY_S: Final = 5.0
KEPT_MS: Final = 30 * 86_400_000
# So that a month's worth of certificates that end together is no single large transaction.
_DROPPED_AT_ONCE: Final = 500


class ExpiringCredentials:
    """Ends the connections of expired credentials; ``end`` does so for one device and returns how many there were."""

    def __init__(self, keyring: Keyring, pipeline: Pipeline, clock: Clock, end: Callable[[str], int]) -> None:
        self._keyring = keyring
        self._pipeline = pipeline
        self._clock = clock
        self._end = end
        # What was seen to be over: its connections are ended already, and its new ones refused.
        self._seen: set[str] = set()
        self._task = Background("expiring-credentials")

    def start(self) -> None:
        self._task.begin(self._run())
        log.info("expiring_credentials_started", every_s=EVERY_S)

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            log.info("expiring_credentials_ended")

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """End what is over by now, and forget what has been for a month."""
        now = self._clock.now_ms()
        expired = self._keyring.expired(now)
        fresh = [one for one in expired if one.id not in self._seen]
        self._seen = {one.id for one in expired}
        for one in fresh:
            ended = self._end(one.device)
            log.info("credential_expired", device=one.device, credential=one.id, kind=one.kind, connections=ended)
        old = [one.id for one in expired if one.expires_at + KEPT_MS <= now][:_DROPPED_AT_ONCE]
        if old:
            self._pipeline.submit([Dropped(Credential, one) for one in old])
