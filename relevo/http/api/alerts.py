"""``/api/v1/alerts``: what somebody has to look at."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from relevo.domain.accounts import Identity, Role
from relevo.domain.alerts import LIVE, OPEN, Alert, after
from relevo.domain.events import AlertChanged
from relevo.domain.grants import Right
from relevo.errors import Conflict, NotFound
from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.rule_bodies import AlertOut, AlertPage, Note, Severity, State
from relevo.http.api.times import iso
from relevo.http.needs import Operator, Viewer
from relevo.http.services import Services, Wired
from relevo.store import alerts as store

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

Id = Annotated[str, Path(max_length=64)]


def render(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "device": alert.device,
        "state": alert.state,
        "severity": alert.severity,
        "text": alert.text,
        "rule": alert.rule,
        "name": alert.name,
        "owner": alert.owner,
        "opened": iso(alert.opened_at),
        "changed": iso(alert.changed_at),
        "ended": iso(alert.ended_at),
        "count": alert.count,
        "values": alert.values,
        "by": alert.by,
        "note": alert.note,
    }


def _sees(wired: Services, identity: Identity, alert: Alert) -> bool:
    device = wired.registry.get(alert.device)
    return device is not None and wired.auth.people.right(identity, device) >= Right.VIEW


async def _find(wired: Services, identity: Identity, alert_id: str) -> Alert:
    alert = wired.alerts.live.get(alert_id) or await wired.readers.run_core(store.load, alert_id)
    if alert is None or not _sees(wired, identity, alert):
        raise NotFound(f"no alert {alert_id!r}")
    return alert


@router.get("", response_model=AlertPage)
async def page(
    wired: Wired,
    identity: Viewer,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    state: Annotated[list[State] | None, Query(description="Any of these; all when not said.")] = None,
    severity: Severity | None = None,
    device: Annotated[str, Query(max_length=64)] = "",
    rule: Annotated[str, Query(max_length=64)] = "",
    search: Annotated[str, Query(max_length=64, description="Part of the text, the rule's name or the device.")] = "",
) -> dict[str, Any]:
    """The alerts of the devices you may view, newest first."""
    before = decode_numbers(cursor, 1)
    devices: list[str] | None = None
    if identity.role is not Role.ADMINISTRATOR:
        right = wired.auth.people.right
        devices = [one.id for one in wired.registry.all() if right(identity, one) >= Right.VIEW]
    if device:
        devices = [device] if devices is None or device in devices else []
    found = await wired.readers.run_core(
        store.page, limit + 1, before[0] if before else None, devices, state or (), severity or "", rule, search
    )
    following = encode_cursor(found[limit - 1][0]) if len(found) > limit else None
    unseen = sum(one.state == OPEN and _sees(wired, identity, one) for one in wired.alerts.live.values())
    return {"items": [render(one) for _, one in found[:limit]], "next": following, "open": unseen}


@router.get("/{alert_id}", response_model=AlertOut)
async def one(wired: Wired, identity: Viewer, alert_id: Id) -> dict[str, Any]:
    """One alert."""
    return render(await _find(wired, identity, alert_id))


@router.post("/{alert_id}/acknowledge", response_model=AlertOut)
async def acknowledge(
    request: Request, wired: Wired, identity: Operator, alert_id: Id, body: Note | None = None
) -> dict[str, Any]:
    """Say that you have seen it."""
    alert = await _live(wired, identity, alert_id)
    event = wired.alerts.acknowledge(alert, identity.name, body.note if body else "", wired.clock.now_ms())
    return await _changed(request, wired, identity, event)


@router.post("/{alert_id}/resolve", response_model=AlertOut)
async def resolve(
    request: Request, wired: Wired, identity: Operator, alert_id: Id, body: Note | None = None
) -> dict[str, Any]:
    """Say that it is over; the next one opens when its rule fires anew."""
    alert = await _live(wired, identity, alert_id)
    event = wired.alerts.resolve(alert, identity.name, body.note if body else "", wired.clock.now_ms())
    return await _changed(request, wired, identity, event)


async def _live(wired: Services, identity: Identity, alert_id: str) -> Alert:
    alert = await _find(wired, identity, alert_id)
    if alert.state not in LIVE:
        raise Conflict(f"the alert is {alert.state} already")
    return alert


async def _changed(request: Request, wired: Services, identity: Identity, event: AlertChanged) -> dict[str, Any]:
    audited = wired.audited(request, identity, f"alert.{event.change}", event.id, {"device": event.device})
    await wired.pipeline.accept([event, audited])
    return render(after(event))
