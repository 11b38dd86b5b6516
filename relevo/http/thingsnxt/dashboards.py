"""Dashboards and widgets of the app (contract thingsnxt, section 4): everybody's own, and nobody else's."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from relevo.dashboards import new_id, widget_of
from relevo.domain.accounts import Identity
from relevo.domain.dashboards import (
    CONFIG_BYTES_MOST,
    DASHBOARDS_MOST,
    NAME_LIMIT,
    SWITCH,
    TEXT_LIMIT,
    WIDGETS_MOST,
    Dashboard,
    Widget,
    free_pin,
    normal_pin,
)
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.errors import FieldError, Invalid, NotFound
from relevo.http.api.devices import check_storable
from relevo.http.api.times import iso
from relevo.http.needs import Viewer
from relevo.http.services import Services, Wired
from relevo.http.thingsnxt import shapes
from relevo.http.thingsnxt.rates import limited

router = APIRouter(tags=["thingsnxt"], dependencies=[limited])

_SIZE_MOST = 24
_STATES = {0: 0, 1: 1, "0": 0, "1": 1}
_json = msgspec.json.Encoder().encode

Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]


class NewDashboard(BaseModel):
    name: Name
    description: Annotated[str | None, Field(max_length=TEXT_LIMIT)] = ""


class Place(BaseModel):
    id: Annotated[str, Field(max_length=64)]
    width: Annotated[int | None, Field(ge=1, le=_SIZE_MOST)] = None
    height: Annotated[int | None, Field(ge=1, le=_SIZE_MOST)] = None


class Layout(BaseModel):
    layout: Annotated[list[Place], Field(max_length=WIDGETS_MOST)]


class NewWidget(BaseModel):
    """A switch (``led``) gets the lowest virtual pin of its device that is free, unless ``config`` names one."""

    dashboard_id: Annotated[str, Field(max_length=64)]
    device_id: Annotated[str | None, Field(max_length=64)] = None
    type: Annotated[str, Field(min_length=1, max_length=32)] = "telemetry"
    label: Annotated[str | None, Field(max_length=NAME_LIMIT)] = None
    value: Any = None
    config: dict[str, Any] = {}


class WidgetChange(BaseModel):
    """What is given changes; ``config`` is merged."""

    device_id: Annotated[str | None, Field(max_length=64)] = None
    type: Annotated[str | None, Field(min_length=1, max_length=32)] = None
    label: Annotated[str | None, Field(max_length=NAME_LIMIT)] = None
    value: Any = None
    config: dict[str, Any] | None = None
    width: Annotated[int | None, Field(ge=1, le=_SIZE_MOST)] = None
    height: Annotated[int | None, Field(ge=1, le=_SIZE_MOST)] = None


def dashboard_for(wired: Services, identity: Identity, dashboard_id: str) -> Dashboard:
    found = wired.dashboards.dashboards.get(dashboard_id)
    if found is None or found.account != identity.name:
        raise NotFound("Dashboard not found")
    return found


def widget_for(wired: Services, identity: Identity, widget_id: str) -> Widget:
    found = wired.dashboards.widgets.get(widget_id)
    if found is None or found.account != identity.name:
        raise NotFound("Widget not found")
    return found


def switch_for(wired: Services, identity: Identity, widget_id: str) -> tuple[Widget, Device, str]:
    """A switch, the device it switches and the key it sets. Raises 400 for a widget that is none."""
    widget = widget_for(wired, identity, widget_id)
    if widget.type != SWITCH:
        raise HTTPException(400, "Widget is not a switch")
    device = wired.registry.get(widget.device) if widget.device else None
    if device is None or not widget.key:
        raise HTTPException(400, "Widget is not linked to a device")
    return widget, wired.auth.device_for(identity, device.id, Right.CONTROL), widget.key


def schedules_of(wired: Services, widget: Widget) -> list[Schedule]:
    return [one for one in wired.schedules.all.values() if widget_of(one.id) == widget.id]


def unscheduled(wired: Services, widget: Widget) -> list[RecordChange]:
    """The schedules that go with a widget."""
    return [Dropped(kind, one.id) for one in schedules_of(wired, widget) for kind in (Schedule, ScheduleProgress)]


def wanted(wired: Services, device: Device, key: str, state: int) -> dict[str, Any]:
    """What is desired of ``device`` for a switch that is on or off."""
    if device.contract == shapes.CONTRACT:
        # A pin may be switched before the board has ever said that it has it.
        return {key: state}
    try:
        return wired.appearances.wish(device, key, bool(state))
    except NotFound as problem:
        raise HTTPException(400, str(problem)) from None


def state_of(value: Any) -> int:
    """0 or 1 of what the app says. Raises 400."""
    found = _STATES.get(value) if isinstance(value, int | str) else None
    if found is None:
        raise HTTPException(400, "state must be 0 or 1")
    return found


@router.get("/dashboards", summary="One's dashboards")
async def dashboards(wired: Wired, identity: Viewer) -> list[dict[str, Any]]:
    return [shapes.dashboard(one) for one in wired.dashboards.of_account(identity.name)]


@router.post("/dashboards", summary="Add a dashboard")
async def create_dashboard(wired: Wired, identity: Viewer, body: NewDashboard) -> dict[str, Any]:
    check_storable([body.name, body.description], "name or description")
    if len(wired.dashboards.of_account(identity.name)) >= DASHBOARDS_MOST:
        raise HTTPException(400, f"At most {DASHBOARDS_MOST} dashboards a person; delete one")
    made = Dashboard(new_id(), identity.name, body.name, body.description or "", wired.clock.now_ms())
    await wired.pipeline.accept([Kept(made)])
    return shapes.dashboard(made)


@router.delete("/dashboards/{id}", summary="Remove a dashboard with its widgets")
async def delete_dashboard(wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    dashboard = dashboard_for(wired, identity, id)
    gone: list[RecordChange] = [Dropped(Dashboard, dashboard.id)]
    for widget in wired.dashboards.on(dashboard.id):
        gone += [*unscheduled(wired, widget), Dropped(Widget, widget.id)]
    await wired.pipeline.accept(gone)
    return {"message": "Dashboard deleted"}


@router.put("/dashboards/{id}/layout", summary="Arrange the widgets of a dashboard")
async def layout(wired: Wired, identity: Viewer, id: str, body: Layout) -> dict[str, Any]:  # noqa: A002
    """In the order in which they are named; those that are not named follow."""
    dashboard = dashboard_for(wired, identity, id)
    here = {one.id: one for one in wired.dashboards.on(dashboard.id)}
    changed: list[RecordChange] = []
    for position, place in enumerate(body.layout):
        widget = here.pop(place.id, None)
        if widget is None:
            raise _wrong(f"layout.{position}.id", "is no widget of this dashboard")
        moved = msgspec.structs.replace(
            widget,
            width=place.width or widget.width,
            height=place.height or widget.height,
            position=position,
        )
        changed.append(Kept(moved))
    for position, widget in enumerate(here.values(), len(body.layout)):
        changed.append(Kept(msgspec.structs.replace(widget, position=position)))
    await wired.pipeline.accept(changed)
    return {"message": "Layout updated"}


@router.post("/widgets", summary="Add a widget")
async def create_widget(wired: Wired, identity: Viewer, body: NewWidget) -> dict[str, Any]:
    dashboard = dashboard_for(wired, identity, body.dashboard_id)
    there = wired.dashboards.on(dashboard.id)
    if len(there) >= WIDGETS_MOST:
        raise HTTPException(400, f"At most {WIDGETS_MOST} widgets on a dashboard; delete one")
    device = shapes.device_for(wired, identity, body.device_id, Right.VIEW) if body.device_id else None
    made = Widget(
        new_id(),
        dashboard.id,
        identity.name,
        device.id if device else "",
        body.type,
        body.label or "",
        _config(wired, body.type, device, body.config),
        wired.clock.now_ms(),
        body.value,
        position=max((one.position for one in there), default=-1) + 1,
    )
    _check(made)
    await wired.pipeline.accept([Kept(made)])
    return shapes.widget(wired, made)


@router.get("/widgets/{id}", summary="The widgets of a dashboard")
async def widgets(wired: Wired, identity: Viewer, id: str) -> list[dict[str, Any]]:  # noqa: A002
    dashboard = dashboard_for(wired, identity, id)
    coming: dict[str, int] = {}
    for schedule in wired.schedules.all.values():
        at = pending_at(wired, schedule)
        if at:
            whose = widget_of(schedule.id)
            coming[whose] = min(at, coming.get(whose, at))
    return [
        shapes.widget(wired, one) | ({"next_schedule": iso(coming[one.id])} if one.id in coming else {})
        for one in wired.dashboards.on(dashboard.id)
    ]


@router.patch("/widgets/{id}", summary="Change a widget")
async def change_widget(wired: Wired, identity: Viewer, id: str, body: WidgetChange) -> dict[str, Any]:  # noqa: A002
    widget = widget_for(wired, identity, id)
    given = body.model_dump(exclude_unset=True)
    changes: dict[str, Any] = {
        name: given[name] for name in ("type", "label", "width", "height") if given.get(name) is not None
    }
    if "value" in given:
        changes["value"] = given["value"]
    device = wired.registry.get(widget.device) if widget.device else None
    if given.get("device_id"):
        device = shapes.device_for(wired, identity, given["device_id"], Right.VIEW)
        changes["device"] = device.id
    if body.config is not None or changes.keys() & {"device", "type"}:
        config = widget.config | (body.config or {})
        if "device" in changes and device is not None and device.id != widget.device and not body.config:
            config.pop("virtual_pin", None)
        changes["config"] = _config(wired, changes.get("type", widget.type), device, config, widget.id)
    changed = msgspec.structs.replace(widget, **changes)
    _check(changed)
    await wired.pipeline.accept([Kept(changed)])
    return shapes.widget(wired, changed)


@router.delete("/widgets/{id}", summary="Remove a widget")
async def delete_widget(wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    widget = widget_for(wired, identity, id)
    await wired.pipeline.accept([*unscheduled(wired, widget), Dropped(Widget, widget.id)])
    return {"message": "Widget deleted"}


@router.post("/widgets/{id}/state", summary="Switch a switch")
async def switch(request: Request, wired: Wired, identity: Viewer, id: str) -> dict[str, Any]:  # noqa: A002
    """``{"state": 1}``: desired of the device from now on, and back when that is on the disk."""
    widget_for(wired, identity, id)
    try:
        body = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict) or "state" not in body:
        raise HTTPException(400, "state is missing")
    state = state_of(body["state"])
    _, device, key = switch_for(wired, identity, id)
    audited = wired.audited(request, identity, "device.desire", device.id, {"keys": [key]})
    await wired.twins.desire(device.id, wanted(wired, device, key, state), identity.name, more=[audited])
    return {"message": "ok", "state": state, "virtual_pin": key, "timestamp": iso(wired.clock.now_ms())}


@router.get("/app/config", summary="What the app may show")
async def app_config(wired: Wired, identity: Viewer) -> dict[str, Any]:
    settings = wired.settings
    return {
        "app_name": "Relevo",
        "features": {
            "signup": settings.open_registration,
            "password_reset": bool(settings.notifications.smtp_url),
            "websocket": True,
            "sse": True,
            "schedules": True,
            "notifications": True,
            "webhooks": True,
            "device_tokens_in_lists": settings.legacy_show_tokens,
            "tokens_in_query": settings.token_in_query is not False,
        },
        "limits": {"requests_per_minute": settings.thingsnxt.requests_per_minute},
    }


def pending_at(wired: Services, schedule: Schedule) -> int:
    """When a schedule of a widget is still to run (milliseconds UTC), 0 when it did or is off."""
    at = execute_at(schedule)
    progress = wired.schedules.progress.get(schedule.id)
    return at if schedule.enabled and at > (progress.done_at if progress else 0) else 0


def execute_at(schedule: Schedule) -> int:
    """When it runs, or ran (milliseconds UTC); 0 for a timing that is not this contract's."""
    return getattr(schedule.timing, "at", 0)


def _config(wired: Services, kind: str, device: Device | None, given: dict[str, Any], own: str = "") -> dict[str, Any]:
    config = dict(given)
    if kind != SWITCH or device is None:
        return config
    if device.contract != shapes.CONTRACT:
        # Another contract has names of its own for what can be switched.
        if not config.get("key") and not config.get("virtual_pin"):
            raise _wrong("config.key", f"is needed: what of a {device.contract} device it switches")
        return config
    asked = config.get("virtual_pin")
    pin = normal_pin(asked)
    if asked and not pin:
        raise _wrong("config.virtual_pin", "must be v0 to v9999")
    others = (one.key for one in wired.dashboards.of_device(device.id) if one.type == SWITCH and one.id != own)
    return config | {"virtual_pin": pin or free_pin(others)}


def _check(widget: Widget) -> None:
    check_storable([widget.label, widget.type], "label or type")
    check_storable(widget.config, "config")
    check_storable(widget.value, "value")
    size = len(_json([widget.config, widget.value]))
    if size > CONFIG_BYTES_MOST:
        raise _wrong("config", f"has with value {size} bytes as JSON, the limit is {CONFIG_BYTES_MOST}")


def _wrong(field: str, words: str) -> Invalid:
    return Invalid("widget_invalid", f"{field} {words}", [FieldError(field, f"{field} {words}", "widget_invalid")])
