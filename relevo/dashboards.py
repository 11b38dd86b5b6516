"""Dashboards and widgets in memory, kept equal to the store, and who watches them change.

Theory. What an app sees of its own changes follows from commits, as everything else does: a widget is told as changed
when its record is on the disk. Whoever watches is called on the event loop with what changed and renders it itself.
"""

import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from relevo.domain.dashboards import Dashboard, TokenSalt, Widget
from relevo.domain.events import AnyEvent, DeviceRemoved
from relevo.domain.keyring import Keyring
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.pipeline import Pipeline

CHANGED: Final = "changed"
DELETED: Final = "deleted"
EXECUTED: Final = "executed"
CANCELLED: Final = "cancelled"
_ID_CHARS: Final = 24


class Change(NamedTuple):
    """``widget`` changed or was deleted, or its schedule ``schedule`` was executed or cancelled, at ``at`` (ms UTC)."""

    what: str
    widget: Widget
    schedule: str = ""
    at: int = 0


def new_id() -> str:
    """24 hexadecimal characters, as everything in this contract has."""
    return secrets.token_hex(_ID_CHARS // 2)


def schedule_id(widget: str) -> str:
    """An id for a schedule of ``widget``, which it begins with."""
    return f"{widget}-{secrets.token_hex(6)}"


def widget_of(schedule: str) -> str:
    """The widget that a schedule's id names, empty for any other schedule."""
    widget, dash, _ = schedule.partition("-")
    return widget if dash and len(widget) == _ID_CHARS else ""


class Dashboards:
    """:meth:`apply` and :meth:`follow` see every commit."""

    def __init__(self, pipeline: Pipeline, keyring: Keyring) -> None:
        self._pipeline = pipeline
        self._keyring = keyring
        self.dashboards: dict[str, Dashboard] = {}
        self.widgets: dict[str, Widget] = {}
        self._on_device: dict[str, dict[str, Widget]] = {}
        self._salts: dict[str, str] = {}
        self._watchers: dict[str, list[Callable[[Change], None]]] = {}
        # Open WebSockets of the app.
        self.sockets = 0

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Dashboard() as dashboard):
                self.dashboards[dashboard.id] = dashboard
            case Kept(Widget() as widget):
                self._forget(widget.id)
                self.widgets[widget.id] = widget
                if widget.device:
                    self._on_device.setdefault(widget.device, {})[widget.id] = widget
                self._tell(Change(CHANGED, widget))
            case Kept(TokenSalt(device, salt)):
                self._salts[device] = salt
            case Kept(ScheduleProgress() as progress):
                self._tell_schedule(EXECUTED, progress.id, progress.ran_at)
            case Dropped(kind, key) if kind is Dashboard:
                self.dashboards.pop(key, None)
            case Dropped(kind, key) if kind is Widget:
                gone = self._forget(key)
                if gone is not None:
                    self._tell(Change(DELETED, gone))
            case Dropped(kind, key) if kind is TokenSalt:
                self._salts.pop(key, None)
            case Dropped(kind, key) if kind is Schedule:
                self._tell_schedule(CANCELLED, key, 0)

    def _forget(self, widget_id: str) -> Widget | None:
        gone = self.widgets.pop(widget_id, None)
        if gone is not None and gone.device:
            held = self._on_device[gone.device]
            del held[widget_id]
            if not held:
                del self._on_device[gone.device]
        return gone

    def follow(self, event: AnyEvent) -> None:
        """A device that is gone takes its widgets along."""
        if isinstance(event, DeviceRemoved):
            gone: list[RecordChange] = [Dropped(Widget, one.id) for one in self.of_device(event.device)]
            if event.device in self._salts:
                gone.append(Dropped(TokenSalt, event.device))
            if gone:
                self._pipeline.submit(gone)

    # Looking

    def of_account(self, account: str) -> list[Dashboard]:
        """Oldest first."""
        found = [one for one in self.dashboards.values() if one.account == account]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def on(self, dashboard: str) -> list[Widget]:
        """The widgets of a dashboard, in their order."""
        found = [one for one in self.widgets.values() if one.dashboard == dashboard]
        return sorted(found, key=lambda one: (one.position, one.created_at, one.id))

    def of_device(self, device: str) -> list[Widget]:
        return list(self._on_device.get(device, {}).values())

    def belongings(self, account: str) -> list[RecordChange]:
        """What goes with a person."""
        return [
            *(Dropped(Dashboard, one.id) for one in self.of_account(account)),
            *(Dropped(Widget, one.id) for one in self.widgets.values() if one.account == account),
        ]

    # Tokens

    def new_token(self, device: str, external_id: str) -> tuple[str, Kept]:
        """A token of 32 hexadecimal characters, and the change to submit so that it can be shown again.

        It is made from the secret of this installation and a salt, so the database alone does not hold it.
        """
        salt = secrets.token_hex(16)
        return self._made(external_id, salt), Kept(TokenSalt(device, salt))

    def token(self, device: str, external_id: str) -> str:
        """The token that was made here last, empty where another was chosen."""
        salt = self._salts.get(device)
        return self._made(external_id, salt) if salt else ""

    def _made(self, external_id: str, salt: str) -> str:
        secret = self._keyring.secret_for(f"thingsnxt token\0{external_id}\0{salt}")
        return sha256(secret.encode()).hexdigest()[:32]

    # Watching

    def watch(self, account: str, tell: Callable[[Change], None]) -> None:
        self._watchers.setdefault(account, []).append(tell)

    def unwatch(self, account: str, tell: Callable[[Change], None]) -> None:
        held = self._watchers.get(account, [])
        if tell in held:
            held.remove(tell)
        if not held:
            self._watchers.pop(account, None)

    def _tell(self, change: Change) -> None:
        for tell in list(self._watchers.get(change.widget.account, ())):
            tell(change)

    def _tell_schedule(self, what: str, schedule: str, at: int) -> None:
        widget = self.widgets.get(widget_of(schedule))
        if widget is not None and (at or what is CANCELLED):
            self._tell(Change(what, widget, schedule, at))
