"""What is kept for a time and then dropped: signing keys that no living token needs, old lines of audit and status log.

The audit log loses whole days (UTC), so that the lines which tell of that are one a day and breed no others.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from relevo.clock import Clock
from relevo.domain.events import Audited
from relevo.domain.records import AuditForgotten, RecordChange, StatusLogForgotten
from relevo.errors import QueueFull, StoreUnavailable
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.pipeline import Pipeline
from relevo.store import audit, status_log
from relevo.store.readers import Readers

log = get_logger("relevo.jobs")

EVERY_S: Final = 60.0
# So that years of entries are no single long transaction.
FORGOTTEN_AT_ONCE: Final = 10_000
_DAY_MS: Final = 86_400_000
# Whoever does things by itself, in the audit log.
_SELF: Final = "relevo"


class Retention:
    """Looks once a minute."""

    def __init__(
        self,
        pipeline: Pipeline,
        readers: Readers,
        clock: Clock,
        audit_days: int,
        ended_keys: Callable[[], RecordChange | None],
        status_days: int = 0,
    ) -> None:
        """``audit_days`` and ``status_days`` 0 keep these logs for ever; ``ended_keys`` gives the change that drops
        signing keys, ``None`` while there are none."""
        self._pipeline = pipeline
        self._readers = readers
        self._clock = clock
        self._audit_days = audit_days
        self._ended_keys = ended_keys
        self._status_days = status_days
        self._task = Background("retention")

    def start(self) -> None:
        self._task.begin(self._run())
        log.info("retention_started", every_s=EVERY_S, audit_days=self._audit_days)

    async def stop(self) -> None:
        """Harmless when it never began."""
        if await self._task.end():
            log.info("retention_ended")

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except (QueueFull, StoreUnavailable, SQLAlchemyError) as error:
                log.warning("retention_waits", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Drop what is over by now. Raises :class:`QueueFull` or :class:`StoreUnavailable`."""
        change = self._ended_keys()
        if change is not None:
            self._pipeline.submit([change])
            log.info("signing_keys_dropped")
        if self._audit_days:
            await self._forget_audit()
        if self._status_days:
            await self._forget_status()

    async def _forget_audit(self) -> None:
        now = self._clock.now_ms()
        before = (now // _DAY_MS - self._audit_days) * _DAY_MS
        while True:
            count, through = await self._readers.run_core(audit.over, before, FORGOTTEN_AT_ONCE)
            if not count:
                return
            detail = {"removed": count, "older_than_days": self._audit_days}
            told = Audited(now, _SELF, "audit.forget", "audit", detail)
            await self._pipeline.accept([AuditForgotten(through, before), told])
            log.info("audit_forgotten", removed=count)

    async def _forget_status(self) -> None:
        before = self._clock.now_ms() - self._status_days * _DAY_MS
        while True:
            count, through = await self._readers.run_core(status_log.over, before, FORGOTTEN_AT_ONCE)
            if not count:
                return
            await self._pipeline.accept([StatusLogForgotten(through, before)])
            log.info("status_log_forgotten", removed=count)
