"""What the HTTP endpoints work with, wired by the application."""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from relevo.clock import Clock
from relevo.dialect import Dialect
from relevo.domain.devices import Device, Registry
from relevo.domain.meters import RecentReadings
from relevo.domain.presence import is_online
from relevo.http.auth import Auth
from relevo.intake import Intake
from relevo.pipeline import Pipeline
from relevo.refusals import Refusals
from relevo.settings import Settings
from relevo.store.latest import Latest, values_of
from relevo.store.readers import Readers
from relevo.store.series import Page

ReadSeries = Callable[[sqlite3.Connection, str, str, int, int, int, tuple[int, int] | None, int], Page]


@dataclass(slots=True)
class Services:
    """One per process."""

    settings: Settings
    clock: Clock
    registry: Registry
    dialects: dict[str, Dialect]
    pipeline: Pipeline
    intake: Intake
    refusals: Refusals
    readers: Readers
    auth: Auth
    recent: RecentReadings
    read_series: ReadSeries
    connected: Callable[[str], bool]
    figures: Callable[[], dict[str, Any]]
    ready: Callable[[], list[str]]
    started_at: int

    def latest(self, device_id: str) -> tuple[Latest, int]:
        """The committed latest values of a device, and when it was last heard (milliseconds UTC, 0 is never)."""
        data = self.pipeline.documents.get(device_id)
        return values_of(data) if data else ({}, 0)

    def online(self, device: Device, last_seen: int) -> bool:
        return is_online(device.contract, self.connected(device.id), last_seen, self.clock.now_ms())


def services(connection: HTTPConnection) -> Services:
    """FastAPI dependency."""
    found: Services = connection.app.state.services
    return found


Reader = Callable[..., Awaitable[Any]]
