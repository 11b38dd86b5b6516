"""Schedules and timers of switches (contract thingsnxt, section 4): schedules like any other, run by the server's."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, field_validator
from starlette.exceptions import HTTPException

from relevo.dashboards import schedule_id, widget_of
from relevo.domain.dashboards import NAME_LIMIT, Widget
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.schedule_limits import check_schedule
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.domain.timings import Once
from relevo.errors import NotFound
from relevo.http.api.times import iso
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.http.thingsnxt.dashboards import (
    execute_at,
    pending_at,
    schedules_of,
    state_of,
    switch_for,
    wanted,
)
from relevo.http.thingsnxt.rates import limited

router = APIRouter(tags=["thingsnxt"], dependencies=[limited])

_PENDING_MOST: Final = 50
_KEPT_MOST: Final = 20
_TIMER_MOST_S: Final = 86_400
# A restart may take longer than the minute that others have.
_LATE_LIMIT_S: Final = 300

Label = Annotated[str | None, Field(max_length=100)]


class NewSchedule(BaseModel):
    """``execute_at`` as ISO 8601, without an offset in the person's time zone."""

    state: Any
    execute_at: datetime
    label: Label = None


class NewTimer(BaseModel):
    """``state`` holds after ``duration_seconds``."""

    state: Any = 0
    duration_seconds: Annotated[int, Field(ge=1, le=_TIMER_MOST_S)]
    label: Label = None

    @field_validator("duration_seconds", mode="before")
    @classmethod
    def _no_flag(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number of seconds")
        return value


@router.get("/widgets/{id}/schedule", summary="The schedules of a switch")
async def schedules(wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    """Earliest first; those that ran are kept for a while."""
    widget, _, key = switch_for(wired, identity, id)
    found = sorted(schedules_of(wired, widget), key=execute_at)
    return {"schedules": [_shown(wired, widget, one, key) for one in found]}


@router.post("/widgets/{id}/schedule", summary="Switch a switch later")
async def schedule(request: Request, wired: Wired, identity: Viewer, id: str, body: NewSchedule) -> dict[str, Any]:  # noqa: A002
    state = state_of(body.state)
    at = body.execute_at
    if at.tzinfo is None:
        at = at.replace(tzinfo=wired.notifications.zone_of(identity.name))
    try:
        ms = round(at.timestamp() * 1000)
    except (OverflowError, OSError, ValueError):
        ms = 0
    if ms <= wired.clock.now_ms():
        raise HTTPException(400, "execute_at must be in the future")
    made = await _make(request, wired, identity, id, state, ms, body.label or "Schedule")
    return {"message": "scheduled"} | made


@router.post("/widgets/{id}/timer", summary="Switch a switch after a while")
async def timer(request: Request, wired: Wired, identity: Viewer, id: str, body: NewTimer) -> dict[str, Any]:  # noqa: A002
    state = state_of(body.state)
    ms = wired.clock.now_ms() + body.duration_seconds * 1000
    made = await _make(request, wired, identity, id, state, ms, body.label or "Timer")
    return {"message": "timer_scheduled"} | made | {"duration_seconds": body.duration_seconds}


@router.delete("/widgets/{id}/schedule/{sid}", summary="Cancel a schedule of a switch")
async def cancel(request: Request, wired: Wired, identity: Viewer, id: str, sid: str) -> dict[str, Any]:  # noqa: A002
    widget, _, _ = switch_for(wired, identity, id)
    found = wired.schedules.all.get(sid)
    if found is None or widget_of(sid) != widget.id:
        raise NotFound("Schedule not found or already processed")
    audited = wired.audited(request, identity, "schedule.delete", sid, {"name": found.name})
    await wired.pipeline.accept([Dropped(Schedule, sid), Dropped(ScheduleProgress, sid), audited])
    return {"message": "cancelled"}


async def _make(
    request: Request, wired: Services, identity: Any, widget_id: str, state: int, at: int, label: str
) -> dict[str, Any]:
    widget, device, key = switch_for(wired, identity, widget_id)
    mine = schedules_of(wired, widget)
    if sum(1 for one in mine if pending_at(wired, one)) >= _PENDING_MOST:
        raise HTTPException(400, f"At most {_PENDING_MOST} schedules wait for one switch; cancel one")
    now = wired.clock.now_ms()
    made = Schedule(
        id=schedule_id(widget.id),
        name=label.strip()[:NAME_LIMIT] or "Schedule",
        owner=identity.name,
        by=identity.name,
        timing=Once(at),
        action={"desired": {"device": device.id, "values": wanted(wired, device, key, state)}},
        created_at=now,
        since=now,
        late_limit_s=_LATE_LIMIT_S,
    )
    check_schedule(made)
    over = sorted((one for one in mine if not pending_at(wired, one)), key=execute_at)[:-_KEPT_MOST]
    gone: list[RecordChange] = [Dropped(kind, one.id) for one in over for kind in (Schedule, ScheduleProgress)]
    audited = wired.audited(request, identity, "schedule.create", made.id, {"name": made.name})
    await wired.pipeline.accept([Kept(made), *gone, audited])
    return {"schedule_id": made.id, "execute_at": iso(at), "state": bool(state)}


def _shown(wired: Services, widget: Widget, one: Schedule, key: str) -> dict[str, Any]:
    progress = wired.schedules.progress.get(one.id)
    ran = progress.ran_at if progress else 0
    status = "pending" if pending_at(wired, one) else "completed" if ran else "failed"
    values = next(iter(one.action.values())).get("values", {})
    return {
        "id": one.id,
        "_id": one.id,
        "widget_id": widget.id,
        "dashboard_id": widget.dashboard,
        "label": one.name,
        "state": bool(values.get(key)),
        "execute_at": iso(execute_at(one)),
        "executed_at": iso(ran),
        "status": status,
        "created_at": iso(one.created_at),
    }
