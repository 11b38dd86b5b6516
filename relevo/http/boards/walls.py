"""What hangs on a wall: one board's devices and keys, with its owner's rights of the moment, and nothing else.

Everything that is not there is told in the same words, whether it is the wall, a device, a key or a picture.
"""

from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import HTTPConnection

from relevo.boards import View
from relevo.domain import events as ev
from relevo.domain.accounts import Identity
from relevo.domain.alerts import LIVE, OPEN, Alert
from relevo.domain.board_widgets import charted_by, shown_by, span_ms
from relevo.domain.boards import COLUMNS, WALL_STREAMS_MOST, Board, Wall
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.rule_actions import SEVERITIES
from relevo.errors import NotFound, TooMany
from relevo.http.api.times import iso
from relevo.http.boards.shapes import due_at
from relevo.http.services import Services, address_of
from relevo.http.watching import Standing

_DEVICES_MOST: Final = 500
_RETRY_S: Final = 60
# What somebody who cannot steer need not know.
_STEERED: Final[dict[str, frozenset[str]]] = {
    "button": frozenset({"command", "params", "confirm"}),
    "slider": frozenset({"command", "param", "target"}),
    "switch": frozenset({"mode", "confirm"}),
}
_TELEMETRY: Final = (ev.TelemetryReceived, ev.ReadingShown)
_REGISTRY: Final = (ev.DeviceRegistered, ev.DeviceChanged, ev.DeviceRemoved)
_STATE: Final = (ev.DesiredChanged, ev.DesiredAgreed, ev.DesiredFailed, ev.ReportedChanged)


def nothing() -> NotFound:
    return NotFound("there is nothing here")


def look(wired: Services, connection: HTTPConnection, token: str) -> "Look":
    """What the wall of ``token`` shows. Raises :class:`NotFound`."""
    wall = wired.boards.wall(token, wired.clock.now_ms())
    if wall is not None:
        found = Look(wired, wall)
        if found.good():
            return found
    wired.refusals.refuse("", "http", "wall_unknown", "a link to a wall that is not in force", address_of(connection))
    raise nothing()


class Look:
    """A look at a wall, short or, as a stream, long: everything is asked anew each time."""

    def __init__(self, wired: Services, wall: Wall) -> None:
        self._wired = wired
        self.wall = wall
        self._owner = Standing(wall.account, wired.auth.people, wired.registry)
        self._board: Board | None = None
        self._keys: dict[str, set[str]] = {}
        self._tags: dict[str, set[str]] = {}
        self._about: set[str] = set()
        self._all_alerts = False
        self._view: View | None = None

    def good(self) -> bool:
        """Whether the wall is in force and its owner may sign in."""
        return self._wired.boards.in_force(self.wall, self._wired.clock.now_ms()) and self._owner.good()

    @property
    def board(self) -> Board:
        """As it is now. Raises :class:`NotFound`."""
        board = self._wired.boards.all.get(self.wall.board)
        if board is None:
            raise nothing()
        if board is not self._board:
            self._read(board)
        return board

    @property
    def identity(self) -> Identity:
        """The owner, with the role of the moment. Raises :class:`NotFound`."""
        account = self._wired.auth.people.accounts.get(self.wall.account)
        if account is None or account.disabled:
            raise nothing()
        return Identity(account.name, account.rank)

    def _read(self, board: Board) -> None:
        self._board = board
        self._keys, self._tags, self._about, self._all_alerts = {}, {}, set(), False
        for one in board.widgets:
            options = one["options"]
            for device, key in shown_by(one):
                self._keys.setdefault(device, set()).update({key} - {""})
            if one["type"] == "table" and options["tag"]:
                self._tags.setdefault(options["tag"], set()).update(options["keys"])
            if one["type"] == "alerts":
                named = {*options["devices"], one["device"]} - {""}
                self._about |= named
                self._all_alerts = self._all_alerts or not named

    def _views(self, device: Device) -> bool:
        return self._wired.auth.people.right(self.identity, device) >= Right.VIEW

    def keys_of(self, device_id: str) -> set[str] | None:
        """The keys of a device that the board shows and its owner may view; ``None`` for a device that is not on it."""
        _ = self.board
        device = self._wired.registry.get(device_id)
        if device is None:
            return None
        tagged = [keys for tag, keys in self._tags.items() if tag in device.tags]
        if (device_id not in self._keys and not tagged) or not self._views(device):
            return None
        return self._keys.get(device_id, set()).union(*tagged)

    # The document

    def document(self) -> dict[str, Any]:
        """The board with what its widgets show now."""
        board, identity = self.board, self.identity
        shown = {one.id: one for one in self._devices()}
        widgets = [self._widget(identity, one, shown) for one in board.widgets]
        return {
            "name": board.name,
            "version": board.version,
            "columns": COLUMNS,
            "widgets": widgets,
            "devices": [self._device(one) for one in shown.values()],
            "alerts": [_alert(one) for one in self._alerts()],
            "expires_at": iso(self.wall.expires_at),
        }

    def _devices(self) -> Iterator[Device]:
        """Those on the board that its owner may view, the named ones first."""
        registry, count = self._wired.registry, 0
        for name in self._keys:
            device = registry.get(name)
            if device is not None and self._views(device):
                yield device
        for device in registry.all() if self._tags else ():
            if count < _DEVICES_MOST and device.id not in self._keys and self.keys_of(device.id) is not None:
                count += 1
                yield device

    def _device(self, device: Device) -> dict[str, Any]:
        wired = self._wired
        latest, seen = wired.latest(device.id)
        known = wired.appearances.known(device)
        keys = sorted(self.keys_of(device.id) or ())
        return {
            "id": device.id,
            "name": device.name,
            "online": wired.online(device),
            "last_seen": iso(seen),
            "values": {
                key: {"value": known[key], "ts": latest[key][1] if key in latest else None}
                for key in keys
                if key in known
            },
        }

    def _widget(self, identity: Identity, one: dict[str, Any], shown: dict[str, Device]) -> dict[str, Any]:
        devices = {device for device, _ in shown_by(one)}
        registry = self._wired.registry
        missing = bool(devices) and all(registry.get(each) is None for each in devices)
        place = {name: one[name] for name in ("id", "type", "title", "x", "y", "w", "h")}
        if devices and not devices & shown.keys():
            return place | {"device": "", "key": "", "options": {}, "visible": False, "missing": missing}
        withheld = _STEERED.get(one["type"], frozenset())
        options = {name: value for name, value in one["options"].items() if name not in withheld}
        for name in ("series", "pins"):
            if name in options:
                options[name] = [each for each in options[name] if each["device"] in shown]
        if "devices" in options:
            options["devices"] = [each for each in options["devices"] if each in shown]
        if options.get("tag"):
            # Whoever looks has no list of devices to find them in.
            options["devices"] = [each.id for each in shown.values() if options["tag"] in each.tags]
        due = {}
        if one["type"] == "countdown":
            options.pop("schedule")
            due = {"due_at": iso(due_at(self._wired, identity, one))}
        own = one["device"] if one["device"] in shown else ""
        key = one["key"] if own else ""
        return place | {"device": own, "key": key, "options": options, "visible": True, "missing": False} | due

    # Alerts

    def _alerts(self) -> list[Alert]:
        """Those that a list on the board has room for, newest first."""
        lists = [one for one in self.board.widgets if one["type"] == "alerts"]
        if not lists:
            return []
        live = sorted(self._wired.alerts.live.values(), key=lambda one: one.opened_at, reverse=True)
        live = [one for one in live if self._sees_alerts_of(one.device)]
        found: dict[str, Alert] = {}
        for one in lists:
            fitting = [alert for alert in live if _fits(one, alert)]
            found |= {alert.id: alert for alert in fitting[: one["options"]["limit"]]}
        return sorted(found.values(), key=lambda one: one.opened_at, reverse=True)

    def _sees_alerts_of(self, device_id: str) -> bool:
        _ = self.board
        device = self._wired.registry.get(device_id)
        return device is not None and (self._all_alerts or device_id in self._about) and self._views(device)

    # The past

    def charted(self, device_id: str, key: str) -> tuple[Device, int]:
        """A device whose ``key`` a chart shows, and how far back, milliseconds. Raises :class:`NotFound`."""
        spans = [span_ms(one) for one in self.board.widgets if (device_id, key) in charted_by(one)]
        device = self._wired.registry.get(device_id)
        if device is None or not spans or not self._views(device):
            raise nothing()
        return device, max(spans)

    # The stream

    def check_room(self) -> None:
        """Raises :class:`TooMany`."""
        if self._wired.boards.views_of(self.wall.board, self.wall.id) >= WALL_STREAMS_MOST:
            raise TooMany(f"{WALL_STREAMS_MOST} streams of this wall are open, which is the limit", _RETRY_S)

    def __enter__(self) -> "Look":
        self._view = self._wired.boards.open_view(self.wall)
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._wired.boards.close_view(self.wall.board, self._view)

    async def woken(self) -> None:
        """Return when the board changed, or the wall is gone."""
        assert self._view is not None
        await self._view.woken.wait()
        self._view.woken.clear()

    @property
    def version(self) -> int:
        return self.board.version

    def wants(self, event: ev.AnyEvent) -> bool:
        return self.good() and self._says(event) is not None

    def message(self, event: ev.AnyEvent) -> dict[str, Any] | None:
        """What the wall is told of an event, as things are now."""
        return self._says(event) if self.good() else None

    def _says(self, event: ev.AnyEvent) -> dict[str, Any] | None:
        board = self.board
        if isinstance(event, ev.AlertChanged):
            if not self._sees_alerts_of(event.device):
                return None
            return {"kind": "alert"} | _alert(event)
        if isinstance(event, _REGISTRY):
            # A device came, went, or is called or owned otherwise: the document is to be asked for again.
            concerned = bool(self._tags) or event.device in self._keys
            return {"kind": "dashboard", "version": board.version} if concerned else None
        if not isinstance(event, (*_TELEMETRY, *_STATE, ev.PresenceChanged)):
            return None
        keys = self.keys_of(event.device)
        if keys is None:
            return None
        if isinstance(event, ev.PresenceChanged):
            return {"kind": "presence", "device": event.device, "online": event.online, "at": event.at}
        if isinstance(event, _TELEMETRY):
            values = {key: value for key, value in event.values.items() if key in keys}
            if not values:
                return None
            return {"kind": "telemetry", "device": event.device, "ts": event.ts, "values": values}
        device = self._wired.registry.get(event.device)
        known = self._wired.appearances.known(device) if device is not None else {}
        touched = set(event.keys) if isinstance(event, ev.DesiredAgreed | ev.DesiredFailed) else set(event.values)
        if isinstance(event, ev.DesiredChanged | ev.ReportedChanged):
            touched |= set(event.removed)
        values = {key: known.get(key) for key in sorted(touched & keys)}
        return {"kind": "state", "device": event.device, "values": values, "at": event.at} if values else None


def _fits(widget: dict[str, Any], alert: Alert) -> bool:
    options = widget["options"]
    named = {*options["devices"], widget["device"]} - {""}
    return (
        (not named or alert.device in named)
        and alert.state in (LIVE if options["acknowledged"] else {OPEN})
        and SEVERITIES.index(alert.severity) >= SEVERITIES.index(options["severity"])
    )


def _alert(one: Alert | ev.AlertChanged) -> dict[str, Any]:
    return {
        "device": one.device,
        "severity": one.severity,
        "state": one.state,
        "text": one.text,
        "opened": iso(one.opened_at),
    }
