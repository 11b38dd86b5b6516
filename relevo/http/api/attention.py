"""``/api/v1/attention``: what somebody who comes home to it has to look at, in one answer."""

import heapq
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import Connection

from relevo.domain.accounts import Identity, Role
from relevo.domain.alerts import OPEN
from relevo.domain.commands import Command
from relevo.domain.devices import Device
from relevo.domain.rollouts import HALTED, PAUSED
from relevo.http.api.alerts import render as render_alert
from relevo.http.api.commands import CommandOut
from relevo.http.api.commands import render as render_command
from relevo.http.api.fleet import heard_at, visible
from relevo.http.api.rule_bodies import AlertOut
from relevo.http.api.system import switches
from relevo.http.api.times import iso
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.store import commands, unclaimed

router = APIRouter(prefix="/api/v1", tags=["system"])

NEWEST: Final = 20
_DAY_MS: Final = 86_400_000
_SOON_MS: Final = 14 * _DAY_MS
_LATE_MS: Final = 3_600_000
# Of the limit.
_NEARLY_FULL: Final = 0.9


class AlertsOut(BaseModel):
    """Open ones; the newest of them."""

    count: int
    items: list[AlertOut]


class AwayDevice(BaseModel):
    """``since`` is when it was found to be silent or offline."""

    id: str
    name: str
    site: str
    contract: str
    since: str | None
    last_seen: str | None


class AwayOut(BaseModel):
    """How many there are, and those that became so last."""

    count: int
    items: list[AwayDevice]


class WrongOut(BaseModel):
    """Commands that failed, timed out or expired within a day, newest first, at most 20."""

    items: list[CommandOut]


class StorageWarning(BaseModel):
    """Present while the room for history runs out, or will within two weeks."""

    limit_bytes: int
    taken_bytes: int
    full_at: str | None
    short: bool


class OverdueBackup(BaseModel):
    """Present while backups are scheduled and the last is older than it should be."""

    every_h: int
    last_at: str | None
    error: str


class StuckRollout(BaseModel):
    """One that halted, or that the server paused; ``since`` is when it did."""

    id: str
    release: str
    state: str
    reason: str
    since: str


class Attention(BaseModel):
    """``unclaimed`` and ``rollouts`` are null for who is no operator; ``storage``, ``switches`` and ``backup`` are for
    administrators."""

    at: str
    alerts: AlertsOut
    away: AwayOut
    never_seen: AwayOut
    commands: WrongOut
    unclaimed: int | None
    rollouts: list[StuckRollout] | None
    storage: StorageWarning | None
    switches: list[str] | None
    backup: OverdueBackup | None


class _Stored(NamedTuple):
    wrong: list[Command]
    strangers: int


@router.get("/attention", response_model=Attention)
async def attention(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """What needs somebody: alerts, devices that are away, commands that went wrong; of the devices one may view."""
    now = wired.clock.now_ms()
    seen = visible(wired, identity)
    administers = identity.role is Role.ADMINISTRATOR
    ids = None if administers else [one.id for one in seen]

    def look(core: Connection) -> _Stored:
        wrong = commands.gone_wrong(core, now - _DAY_MS, NEWEST, ids) if ids is None or ids else []
        return _Stored(wrong, unclaimed.count_new(core) if identity.at_least(Role.OPERATOR) else 0)

    stored = await wired.readers.run_core(look)
    away, never = _away(wired, seen)
    return {
        "at": iso(now),
        "alerts": _alerts(wired, identity),
        "away": away,
        "never_seen": never,
        "commands": {"items": [render_command(one) for one in stored.wrong]},
        "unclaimed": stored.strangers if identity.at_least(Role.OPERATOR) else None,
        "rollouts": _rollouts(wired, identity) if identity.at_least(Role.OPERATOR) else None,
        "storage": _storage(wired, now) if administers else None,
        "switches": [name for name, on in switches(wired).items() if on] if administers else None,
        "backup": _backup(wired, now) if administers else None,
    }


def _alerts(wired: Services, identity: Identity) -> dict[str, Any]:
    right, registry = wired.auth.people.right, wired.registry
    found = [
        one
        for one in wired.alerts.live.values()
        if one.state == OPEN and (device := registry.get(one.device)) is not None and right(identity, device)
    ]
    newest = heapq.nlargest(NEWEST, found, key=lambda one: (one.opened_at, one.id))
    return {"count": len(found), "items": [render_alert(one) for one in newest]}


def _away(wired: Services, devices: list[Device]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that were there and are not, and those that never were."""
    presence, documents, polled = wired.presence, wired.pipeline.documents, wired.polled
    gone: list[tuple[int, str]] = []
    never: list[tuple[int, str]] = []
    for one in devices:
        device = one.id
        if presence.online(device):
            continue
        since = presence.since(device)
        if since or device in documents or device in polled:
            gone.append((since, device))
        else:
            never.append((one.registered_at, device))
    return _newest(wired, gone), _newest(wired, never)


def _newest(wired: Services, found: list[tuple[int, str]]) -> dict[str, Any]:
    held = (wired.registry.get(device) for _, device in heapq.nlargest(NEWEST, found))
    return {"count": len(found), "items": [_device(wired, one) for one in held if one is not None]}


def _device(wired: Services, device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "name": device.name,
        "site": device.site,
        "contract": device.contract,
        "since": iso(wired.presence.since(device.id)),
        "last_seen": iso(heard_at(wired, device.id)),
    }


def _rollouts(wired: Services, identity: Identity) -> list[dict[str, Any]]:
    """Those that go on only when somebody says so, of whoever asks; administrators see all."""
    found = [
        one
        for one in wired.updates.open
        # One that a person paused is known to somebody.
        if (one.state == HALTED or (one.state == PAUSED and not one.changed_by))
        and (identity.role is Role.ADMINISTRATOR or one.by == identity.name)
    ]
    return [
        {
            "id": one.id,
            "release": one.release,
            "state": one.state,
            "reason": one.reason,
            "since": iso(one.changed_at),
        }
        for one in sorted(found, key=lambda one: (one.changed_at, one.id), reverse=True)[:NEWEST]
    ]


def _storage(wired: Services, now: int) -> dict[str, Any] | None:
    room, taken = wired.room, wired.room.taken()
    full_at = room.forecast.full_at if room.forecast is not None else None
    soon = full_at is not None and full_at < now + _SOON_MS
    if not (room.short or soon or (room.max_disk and taken > room.max_disk * _NEARLY_FULL)):
        return None
    return {"limit_bytes": room.max_disk, "taken_bytes": taken, "full_at": iso(full_at or 0), "short": room.short}


def _backup(wired: Services, now: int) -> dict[str, Any] | None:
    figures = wired.backups.figures()
    every, last = figures["every_h"], figures["last_at"]
    due = wired.started_at if last is None else last + every * _LATE_MS
    if not every or now <= due + _LATE_MS:
        return None
    return {"every_h": every, "last_at": iso(last or 0), "error": figures["error"]}
