"""A sensible board for a device by what it can do: switches for relays, charts for meters, gauges for sensors. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from relevo.domain.board_widgets import check
from relevo.domain.boards import COLUMNS
from relevo.domain.capabilities import METER, SENSOR, SWITCHED, Capability

_SWITCHES_MOST: Final = 32
_SENSORS_MOST: Final = 24
_LINES_MOST: Final = 8
"""Of one chart."""
_PIN: Final = re.compile(r"v(0|[1-9][0-9]{0,3})")
# What is measured in parts of a whole, and units that go without saying.
_PARTS: Final = re.compile(r"humid|humedad|umidade|battery|bater|percent|soc$|level|nivel|valve|soil", re.IGNORECASE)
_UNITS: Final = (
    (re.compile(r"temp|dew", re.IGNORECASE), "°C"),
    (re.compile(r"press|hpa", re.IGNORECASE), "hPa"),
    (re.compile(r"rssi|dbm", re.IGNORECASE), "dBm"),
    (re.compile(r"volt|_v$", re.IGNORECASE), "V"),
    (re.compile(r"lit(er|re)s?$", re.IGNORECASE), "L"),
)


class _Grid:
    """Widgets one after the other, row by row."""

    def __init__(self) -> None:
        self.widgets: list[dict[str, Any]] = []
        self._x = self._y = self._tall = 0

    def add(self, kind: str, w: int, h: int, **more: Any) -> None:
        if self._x + w > COLUMNS:
            self.break_row()
        self.widgets.append({"type": kind, "x": self._x, "y": self._y, "w": w, "h": h} | more)
        self._x += w
        self._tall = max(self._tall, h)

    def break_row(self) -> None:
        self._y += self._tall
        self._x = self._tall = 0


def unit_of(key: str) -> str:
    """The unit that a key's name says, empty for none."""
    if _PARTS.search(key):
        return "%"
    return next((unit for pattern, unit in _UNITS if pattern.search(key)), "")


def widgets_for(
    device: str, contract: str, capabilities: Iterable[Capability], known: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The widgets of a board for ``device``; ``known`` are its values by key."""
    grid = _Grid()
    found = [one for one in capabilities if not one.key.startswith("_")]
    grid.add("status", 3, 2, device=device, title="")

    def place(key: str) -> dict[str, Any]:
        pin = contract == "thingsnxt" and _PIN.fullmatch(key)
        return {"key": "" if pin else key, "options": {"virtual_pin": key} if pin else {}}

    for one in [one for one in found if one.kind in SWITCHED][:_SWITCHES_MOST]:
        grid.add("switch", 3, 2, device=device, title=one.key[:128], **place(one.key))
    grid.break_row()
    for one in (one for one in found if one.kind == METER):
        grid.add("value", 3, 4, device=device, title=one.key[:128], key=one.key, options={"unit": unit_of(one.key)})
        series = [{"device": device, "key": one.key, "unit": unit_of(one.key)}]
        options = {"series": series, "range": "30d", "aggregate": "increase", "interval": "1d"}
        grid.add("chart", 9, 4, title=one.key[:128], options=options)
    grid.break_row()
    sensors = [one.key for one in found if one.kind == SENSOR][:_SENSORS_MOST]
    for key in sensors:
        value, where = known.get(key), place(key)
        part = unit_of(key) == "%" and isinstance(value, int | float) and 0 <= value <= 100
        where["options"] |= {"unit": unit_of(key)}
        grid.add("gauge" if part else "value", 3, 2, device=device, title=key[:128], **where)
    grid.break_row()
    for at in range(0, len(sensors), _LINES_MOST):
        series = [{"device": device, "key": key, "unit": unit_of(key)} for key in sensors[at : at + _LINES_MOST]]
        grid.add("chart", 12, 5, options={"series": series, "range": "24h"})
    return check(grid.widgets)
