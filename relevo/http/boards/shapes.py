"""What boards look like in answers; those of the thingsnxt app in the same words."""

from typing import Any, Final

from relevo.domain.accounts import Identity
from relevo.domain.board_widgets import check, shown_by
from relevo.domain.boards import COLUMNS, Board, BoardRight, Picture, Wall
from relevo.domain.dashboards import SWITCH, Dashboard, normal_pin
from relevo.domain.dashboards import Widget as AppWidget
from relevo.domain.schedules import next_occurrence
from relevo.errors import Invalid
from relevo.http.api.times import iso
from relevo.http.boards.access import THINGSNXT, sees_schedule, views
from relevo.http.services import Services

_APP_WIDTH: Final = 3
_APP_HEIGHT: Final = 2


def board(wired: Services, identity: Identity, one: Board, *, brief: bool = False) -> dict[str, Any]:
    """A board as ``identity`` sees it; ``brief`` without its widgets."""
    right = one.right_of(identity.name)
    owns = right is BoardRight.OWN
    return {
        "id": one.id,
        "contract": "native",
        "name": one.name,
        "owner": one.owner,
        "right": right.name.lower(),
        "version": one.version,
        "columns": COLUMNS,
        "widget_count": len(one.widgets),
        "widgets": [] if brief else [widget(wired, identity, each) for each in one.widgets],
        "shared": [{"user": name, "right": each} for name, each in sorted(one.shared.items())] if owns else [],
        "walls": [wall(each) for each in wired.boards.walls_of(one.id)] if owns else [],
        "created_at": iso(one.created_at),
        "changed_at": iso(one.changed_at),
    }


def wall(one: Wall) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "created_at": iso(one.created_at), "expires_at": iso(one.expires_at)}


def picture(one: Picture) -> dict[str, Any]:
    return {
        "id": one.id,
        "type": one.type,
        "size": one.size,
        "width": one.width,
        "height": one.height,
        "created_at": iso(one.created_at),
        "url": f"/api/v1/pictures/{one.id}",
    }


def widget(wired: Services, identity: Identity, one: dict[str, Any]) -> dict[str, Any]:
    """A widget with what becomes of it for ``identity``: ``hidden`` are the devices they may not view, ``gone`` those
    that are removed."""
    devices = list(dict.fromkeys(shown.device for shown in shown_by(one)))
    gone = [each for each in devices if wired.registry.get(each) is None]
    hidden = [each for each in devices if each not in gone and not views(wired, identity, each)]
    visible = not devices or len(gone) + len(hidden) < len(devices)
    return one | {
        "visible": visible,
        "missing": bool(devices) and len(gone) == len(devices),
        "hidden": hidden,
        "gone": gone,
        "due_at": iso(due_at(wired, identity, one)) if visible and one["type"] == "countdown" else None,
    }


def due_at(wired: Services, identity: Identity, one: dict[str, Any]) -> int:
    """When what a countdown waits for comes (milliseconds UTC), 0 for never."""
    relay = one["options"]["relay"]
    if relay is not None:
        return wired.switching.ends_at(one["device"], relay) if views(wired, identity, one["device"]) else 0
    schedule = wired.schedules.all.get(one["options"]["schedule"])
    if schedule is None or not sees_schedule(identity, schedule) or not schedule.enabled:
        return 0
    following = next_occurrence(schedule, wired.clock.now_ms())
    return following.planned if following else 0


def app_board(wired: Services, identity: Identity, one: Dashboard, *, brief: bool = False) -> dict[str, Any]:
    """A dashboard of the thingsnxt app, which is changed there."""
    widgets = wired.dashboards.on(one.id)
    return {
        "id": one.id,
        "contract": THINGSNXT,
        "name": one.name,
        "owner": one.account,
        "right": BoardRight.VIEW.name.lower(),
        "version": 1,
        "columns": COLUMNS,
        "widget_count": len(widgets),
        "widgets": [] if brief else [widget(wired, identity, each) for each in _placed(wired, widgets)],
        "shared": [],
        "walls": [],
        "created_at": iso(one.created_at),
        "changed_at": iso(one.created_at),
    }


def _placed(wired: Services, widgets: list[AppWidget]) -> list[dict[str, Any]]:
    """In their order, row by row."""
    found, x, y, tall = [], 0, 0, 0
    for one in widgets:
        w = min(COLUMNS, one.width * _APP_WIDTH)
        h = min(24, one.height) * _APP_HEIGHT
        if x + w > COLUMNS:
            x, y, tall = 0, y + tall, 0
        place = {"id": one.id, "x": x, "y": y, "w": w, "h": h, "title": one.label[:128]}
        try:
            found += check([place | _said(wired, one)])
        except Invalid:
            # The app's configuration is the app's: what means nothing here is shown by its name.
            found += check([place | {"type": "text", "options": {"text": one.label}}])
        x, tall = x + w, max(tall, h)
    return found


def _said(wired: Services, one: AppWidget) -> dict[str, Any]:
    """Type, device, key and options of a widget of the app."""
    device = wired.registry.get(one.device) if one.device else None
    pin = normal_pin(one.key) if device is not None and device.contract == THINGSNXT else ""
    options: dict[str, Any] = {"virtual_pin": pin} if pin else {}
    said = {"device": one.device, "key": "" if pin else one.key, "options": options}
    kind = one.type.lower()
    if kind == SWITCH:
        return said | {"type": "switch"}
    if kind in ("chart", "graph", "line") and one.key:
        return {"type": "chart", "options": {"series": [{"device": one.device, "key": one.key}]}}
    if kind in ("gauge", "slider"):
        given = {name: one.config.get(name) for name in ("min", "max")}
        options |= {name: value for name, value in given.items() if type(value) in (int, float)}
        return said | {"type": kind}
    return said | {"type": "value" if one.key else "status"}
