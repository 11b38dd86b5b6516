"""``/api/v1/schedules``: commands at planned moments, in the name of whoever owns the schedule."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from relevo.dispatch import Wish, new_id
from relevo.domain.accounts import Identity, Role
from relevo.domain.actions import check_action, order_of
from relevo.domain.records import Dropped, Kept
from relevo.domain.schedule_limits import check_schedule
from relevo.domain.schedules import Schedule, ScheduleProgress, actions_of, due, next_occurrence, why_none
from relevo.domain.sites import shared
from relevo.domain.targets import meant
from relevo.domain.timings import read_timing
from relevo.domain.zones import LAST_MS, read_instant, zone_of
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.paging import decode_cursor, decode_numbers, encode_cursor
from relevo.http.api.schedule_bodies import Preview, Ran, ScheduleChange, ScheduleIn, ScheduleOut, SchedulePage
from relevo.http.api.times import iso
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])

SCHEDULES_MOST = 1_000
Id = Annotated[str, Path(max_length=64)]
# Whatever of these changes makes other moments.
_TIMING = frozenset({"timing", "zone", "lat", "lon", "starts_at", "ends_at"})
# Moments do not depend on what is done, but no schedule is sound that does nothing.
_ANY_ACTION: dict[str, Any] = {"command": {"selection": {"tags": ["any"]}, "name": "any"}}


def _render(wired: Services, schedule: Schedule) -> dict[str, Any]:
    now = wired.clock.now_ms()
    following, note = None, ""
    try:
        following = next_occurrence(schedule, now)
        note = following.note if following else why_none(schedule, now)
    except Invalid as problem:
        note = str(problem)
    done = wired.schedules.progress.get(schedule.id)
    last_run = None
    if done is not None:
        last_run = {"planned": iso(done.done_at), "at": iso(done.ran_at), "asked": done.asked, "note": done.note}
    whole: dict[str, Any] = msgspec.to_builtins(schedule)
    return whole | {
        "timing": _shown(whole["timing"]),
        "starts_at": iso(schedule.starts_at),
        "ends_at": iso(schedule.ends_at),
        "created": iso(schedule.created_at),
        "next": iso(following.planned) if following else None,
        "note": note,
        "last_run": last_run,
    }


def _shown(timing: dict[str, Any]) -> dict[str, Any]:
    """Instants as all others are shown."""
    return timing | {name: iso(timing[name]) for name in ("at", "anchor") if timing.get(name)}


def _sees(identity: Identity, schedule: Schedule) -> bool:
    return identity.role is Role.ADMINISTRATOR or schedule.owner == identity.name


def _find(wired: Services, identity: Identity, schedule_id: str) -> Schedule:
    schedule = wired.schedules.all.get(schedule_id)
    if schedule is None or not _sees(identity, schedule):
        raise NotFound(f"no schedule {schedule_id!r}")
    return schedule


def _owner(wired: Services, identity: Identity, asked: str | None) -> str:
    """Whose it is to be. Raises :class:`Forbidden` and :class:`Invalid`."""
    if not asked or asked == identity.name:
        return identity.name
    if identity.role is not Role.ADMINISTRATOR:
        raise Forbidden("only administrators make schedules that belong to others")
    if asked not in wired.auth.people.accounts:
        raise Invalid("account_unknown", f"owner: no user {asked!r}", [FieldError("owner", f"no user {asked!r}")])
    return asked


def _given(body: ScheduleIn | ScheduleChange, zone: str) -> dict[str, Any]:
    """The fields of ``body`` as a schedule has them, instants read in ``zone``. Raises :class:`Invalid`."""
    given = body.model_dump(exclude={"owner"}, exclude_unset=isinstance(body, ScheduleChange))
    local = zone_of(zone)
    wrong: list[FieldError] = []

    def read(value: Any, field: str) -> int:
        found = read_instant(value, local)
        if found is None:
            wrong.append(FieldError(field, "must be ISO 8601 or milliseconds UTC, from 1970 to 2100", "time_invalid"))
        return found or 0

    for field in ("starts_at", "ends_at"):
        if field in given:
            given[field] = read(given[field], field) if given[field] is not None else 0
    if wrong:
        raise Invalid("time_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)
    if "timing" in given:
        given["timing"] = read_timing(given["timing"], zone=zone)
    return given


def _place(wired: Services, body: ScheduleIn) -> dict[str, Any]:
    """Whose clocks and sun hold: what is given, else those of the site at which all its devices are."""
    actions = [body.action, body.end_action]
    sound = [order_of(one).selection for one in actions if one and not check_action(one)]
    site = shared(sound, wired.registry, wired.sites)
    place: dict[str, Any] = {"zone": body.zone or (site.zone if site else "UTC"), "lat": body.lat, "lon": body.lon}
    if site is not None and body.lat is None and body.lon is None:
        place |= {"lat": site.lat, "lon": site.lon}
    return place


def _check(wired: Services, schedule: Schedule) -> None:
    """That it keeps every rule, that its owner may do what it does, and that a moment will come.

    Raises :class:`Invalid` naming the field.
    """
    check_schedule(schedule)
    now = wired.clock.now_ms()
    if schedule.enabled and (why := why_none(schedule, now)):
        raise _wrong("timing", f"means no moment that is still to come: {why}")
    for action in actions_of(schedule):
        order = order_of(action)
        field = "timing.windows"
        if action in (schedule.action, schedule.end_action):
            field = f"{'action' if action == schedule.action else 'end_action'}.{next(iter(action))}"
        who = meant(order.selection, schedule.owner, wired.auth.people, wired.registry)
        if who.problem:
            raise _wrong("owner", f"cannot have a schedule: {who.problem}")
        if who.left_out:
            message = f"names {who.left_out[0][:64]!r}, which is none that fits and that {schedule.owner!r} may control"
            raise _wrong(field, message)
        for device in who.devices if order.selection.devices and order.values is None else ():
            wired.dispatch.check(Wish(device, order.name, order.params, schedule.owner, ttl_s=order.ttl_s))


def _wrong(field: str, message: str) -> Invalid:
    return Invalid("schedule_invalid", f"{field} {message}", [FieldError(field, message, "schedule_invalid")])


@router.post("", response_model=ScheduleOut, status_code=201)
async def create(
    request: Request, response: Response, wired: Wired, identity: Operator, body: ScheduleIn
) -> dict[str, Any]:
    """Have a command asked for at planned moments, in your name."""
    owner = _owner(wired, identity, body.owner)
    if sum(one.owner == owner for one in wired.schedules.all.values()) >= SCHEDULES_MOST:
        raise Conflict(f"{owner!r} has {SCHEDULES_MOST} schedules, which is the limit")
    now = wired.clock.now_ms()
    place = _place(wired, body)
    given = _given(body, place["zone"]) | place
    schedule = Schedule(id=new_id(), owner=owner, by=identity.name, created_at=now, since=now, **given)
    _check(wired, schedule)
    detail = {"name": schedule.name, "owner": owner}
    await wired.pipeline.accept(
        [Kept(schedule), wired.audited(request, identity, "schedule.create", schedule.id, detail)]
    )
    response.headers["Location"] = f"/api/v1/schedules/{schedule.id}"
    return _render(wired, schedule)


@router.post("/preview", response_model=Preview)
async def preview(
    wired: Wired, identity: Operator, body: ScheduleIn, count: Annotated[int, Query(ge=1, le=100)] = 5
) -> dict[str, Any]:
    """When a schedule would run, before it is kept; an action is not needed for that."""
    place = _place(wired, body)
    now = wired.clock.now_ms()
    given = _given(body, place["zone"]) | place | {"enabled": True}
    given["action"] = given["action"] or _ANY_ACTION
    schedule = Schedule(id="", owner=identity.name, by=identity.name, created_at=now, since=now, **given)
    check_schedule(schedule)
    return _coming(schedule, now, count)


@router.get("", response_model=SchedulePage)
async def page(
    wired: Wired,
    identity: Operator,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    search: Annotated[str, Query(max_length=64, description="Part of the name or the owner.")] = "",
    device: Annotated[str, Query(max_length=64, description="Only those that mean this device now.")] = "",
) -> dict[str, Any]:
    """Your schedules, administrators see all; newest first."""
    before = decode_cursor(cursor, 2)
    wanted = search.casefold()
    mine = [
        one
        for one in wired.schedules.all.values()
        if _sees(identity, one)
        and (wanted in one.name.casefold() or wanted in one.owner.casefold())
        and (not device or _means(wired, one, device))
    ]
    mine.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    if before is not None:
        after = decode_numbers(encode_cursor(before[0]), 1)
        mine = [one for one in mine if after and (one.created_at, one.id) < (after[0], before[1])]
    shown = mine[:limit]
    following = encode_cursor(shown[-1].created_at, shown[-1].id) if len(mine) > limit else None
    return {"items": [_render(wired, one) for one in shown], "next": following}


def _means(wired: Services, schedule: Schedule, device_id: str) -> bool:
    device = wired.registry.get(device_id)
    return device is not None and any(order_of(one).selection.fits(device) for one in actions_of(schedule))


@router.get("/{schedule_id}", response_model=ScheduleOut)
async def one(wired: Wired, identity: Operator, schedule_id: Id) -> dict[str, Any]:
    """One schedule, when it runs next and what became of its last run."""
    return _render(wired, _find(wired, identity, schedule_id))


@router.patch("/{schedule_id}", response_model=ScheduleOut)
async def change(
    request: Request, wired: Wired, identity: Operator, schedule_id: Id, body: ScheduleChange
) -> dict[str, Any]:
    """Change what is given. Another timing, or switching it on, begins anew: nothing of before is made up for."""
    schedule = _find(wired, identity, schedule_id)
    given = body.model_fields_set
    if not given:
        message = "nothing to change: give any field of a schedule"
        raise Invalid("empty", message, [FieldError("body", message)])
    changes = _given(body, body.zone if "zone" in given else schedule.zone)
    if "owner" in given and body.owner != schedule.owner:
        changes["owner"] = _owner(wired, identity, body.owner)
    if given & _TIMING or (changes.get("enabled") and not schedule.enabled):
        changes["since"] = wired.clock.now_ms()
    changed = msgspec.structs.replace(schedule, **changes)
    if changed.enabled or given != {"enabled"}:
        _check(wired, changed)
    detail = {"changes": sorted(given)}
    await wired.pipeline.accept(
        [Kept(changed), wired.audited(request, identity, "schedule.change", schedule_id, detail)]
    )
    return _render(wired, changed)


@router.delete("/{schedule_id}", status_code=204)
async def remove(request: Request, wired: Wired, identity: Operator, schedule_id: Id) -> None:
    """Remove it. Commands that are queued already stay; see the devices' commands to take them back."""
    schedule = _find(wired, identity, schedule_id)
    audited = wired.audited(request, identity, "schedule.delete", schedule_id, {"name": schedule.name})
    await wired.pipeline.accept([Dropped(Schedule, schedule_id), Dropped(ScheduleProgress, schedule_id), audited])


@router.get("/{schedule_id}/next", response_model=Preview)
async def coming(
    wired: Wired, identity: Operator, schedule_id: Id, count: Annotated[int, Query(ge=1, le=100)] = 10
) -> dict[str, Any]:
    """When it runs next, in local time and UTC, whether it is switched on or not; jitter is not part of it."""
    schedule = msgspec.structs.replace(_find(wired, identity, schedule_id), enabled=True)
    return _coming(schedule, wired.clock.now_ms(), count)


def _coming(schedule: Schedule, now: int, count: int) -> dict[str, Any]:
    zone = zone_of(schedule.zone)
    first = next_occurrence(schedule, now)
    items = [
        {
            "at": iso(one.planned),
            "local": datetime.fromtimestamp(one.planned / 1000, UTC).astimezone(zone).isoformat(timespec="seconds"),
            "steps": [{"edge": step.edge, "action": step.action} for step in one.steps],
        }
        for one in due(schedule, now, LAST_MS, count)
    ]
    return {"items": items, "zone": schedule.zone, "note": first.note if first else why_none(schedule, now)}


@router.post("/{schedule_id}/run", response_model=Ran)
async def run(request: Request, wired: Wired, identity: Operator, schedule_id: Id) -> dict[str, Any]:
    """Run it now and out of turn, in its owner's name; a weekly table as the state that it has now."""
    schedule = _find(wired, identity, schedule_id)
    asked, refused = await wired.schedules.run_now(schedule)
    wired.audit(request, identity, "schedule.run", schedule_id, {"asked": len(asked), "refused": len(refused)})
    return {"asked": asked, "refused": refused}
