"""Schedules and local times for the tests of the planner."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from relevo.domain.schedules import Occurrence, Schedule, due
from relevo.domain.timings import Timing, read_timing

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
ON: dict[str, Any] = {"command": {"device": "lamp", "name": "on"}}
OFF: dict[str, Any] = {"command": {"device": "lamp", "name": "off"}}
# Clocks change at midnight, by half an hour, not any more, and in the ordinary way.
ZONES = ("America/Santiago", "Australia/Lord_Howe", "America/Sao_Paulo", "Europe/Madrid", "UTC")


def ms(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Milliseconds UTC of a local time."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def shown(at: int, zone: str = "UTC") -> str:
    """What clocks show, with the offset."""
    return datetime.fromtimestamp(at // 1000, UTC).astimezone(ZoneInfo(zone)).isoformat(" ", "minutes")


def schedule(timing: Timing | dict[str, Any], **fields: Any) -> Schedule:
    """A schedule that counts from 2020 on."""
    given = {"action": ON, "created_at": ms("2020-01-01"), **fields}
    read = read_timing(timing) if isinstance(timing, dict) else timing
    return Schedule(id="s1", name="lamp", owner="ann", by="ann", timing=read, **given)


def weekly(*windows: tuple[str, str, str], **fields: Any) -> Schedule:
    """Windows as ``("sat sun", "22:00", "02:00")``, on at the start and off at the end."""
    listed = [{"days": days.split(), "from": start, "to": end} for days, start, end in windows]
    return schedule({"kind": "weekly", "windows": listed}, **{"end_action": OFF, **fields})


def cron(expression: str, **fields: Any) -> Schedule:
    return schedule({"kind": "cron", "expression": expression}, **fields)


def edges(found: list[Occurrence], zone: str) -> list[tuple[str, str]]:
    return [(shown(one.planned, zone), "+".join(step.edge for step in one.steps)) for one in found]


def due_edges(one: Schedule, since: str, until: str, zone: str = "UTC") -> list[tuple[str, str]]:
    return edges(due(one, ms(since), ms(until)), zone)
