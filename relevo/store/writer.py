"""One transaction: the journal row of a batch, the latest values, and the projections that follow its events.

Only the pipeline's writer thread calls this. Working copies of device documents live here; when a transaction fails
they are thrown away and read again, so that a reading whose commit failed is never mistaken for one already stored.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from relevo.domain import events as ev
from relevo.domain.accounts import Account
from relevo.domain.commands import COMMAND_EVENTS, CommandEvent
from relevo.domain.deliveries import DeliveryKept
from relevo.domain.erasing import DEVICE, PERSON, Erased, Eraser
from relevo.domain.records import RECORD_CHANGES, Kept, NameErased, RecordChange
from relevo.domain.twins import TWIN_EVENTS, TwinEvent
from relevo.store import (
    alerts,
    audit,
    commands,
    devices,
    erasing,
    inbox,
    journal,
    latest,
    presence,
    readings,
    records,
    sessions,
    status_log,
    timeline,
    twins,
    unclaimed,
    updates,
    webhooks,
)
from relevo.store.db import core_on, open_writer
from relevo.store.history import chunks
from relevo.wire.mqtt_state import CHANGES, Change

R = TypeVar("R")

_VOLATILE: Final = frozenset({ev.UnclaimedReading, ev.ReadingShown})
_STATUS: Final = frozenset({ev.StateReported, ev.StatusSet})
# Nothing is under way any more of those that were removed before so many others.
_GONE_MOST: Final = 10_000
_FOLLOWED: Final = (
    frozenset({ev.DeviceRegistered, ev.DeviceChanged, ev.DeviceRemoved})
    | COMMAND_EVENTS
    | TWIN_EVENTS
    | updates.UPDATE_EVENTS
)


class Batch:
    """What one group commit holds, filled by :meth:`Writer.write`."""

    __slots__ = (
        "changes",
        "documents",
        "duplicates",
        "events",
        "first_seq",
        "followed",
        "kept",
        "lost",
        "records",
        "volatile",
    )

    def __init__(self, events: Sequence[ev.AnyEvent | Change | RecordChange]) -> None:
        # Any, because a cast for each of a thousand events is what the type would cost.
        self.events: Sequence[Any] = events
        self.changes: list[Change] = []
        self.records: list[RecordChange] = []
        self.first_seq = 0
        self.kept: list[ev.AnyEvent] = []
        self.documents: list[tuple[str, bytes]] = []
        # What is followed in memory (registry, ledger), and what is shown without being kept.
        self.followed: list[tuple[int, ev.AnyEvent]] = []
        self.volatile: list[ev.AnyEvent] = []
        # Positions in ``events`` that were already stored, and those whose device is not registered any more.
        self.duplicates: set[int] = set()
        self.lost: set[int] = set()


class Writer:
    """The store's writing half."""

    def __init__(
        self,
        path: Path,
        timeline_entries: int,
        unclaimed_entries: int,
        commands_kept: int = 1_000,
        inbox_kept: int = 1_000,
        loggers: status_log.Loggers | None = None,
        appear: Callable[[ev.ReportedChanged], list[status_log.Line]] = lambda event: [],
    ) -> None:
        """``loggers`` say which events of a contract add to the status log; ``appear`` what a change of reported state
        adds to those of the devices that appear in another contract."""
        self._path = path
        self._unclaimed_entries = unclaimed_entries
        self._timeline = timeline.TimelineWriter(timeline_entries)
        self._commands = commands.CommandWriter(commands_kept)
        self._alerts = alerts.AlertWriter()
        self._inbox_kept = inbox_kept
        self._loggers = loggers or {}
        self._appear = appear
        self._connection: sqlite3.Connection | None = None
        self._core: Connection | None = None
        self._states: dict[str, latest.DeviceState] = {}
        self._numbers: dict[str, int] = {}
        self._identities: dict[str, tuple[str, str]] = {}
        self._taken: set[tuple[str, str]] = set()
        # Devices that were removed, with the numbers of that, and people whose names were erased.
        self._gone: dict[str, int] = {}
        self._nameless: dict[str, Eraser] = {}
        self.next_seq = 1
        # Of the journal's rows, since the start.
        self.bytes_written = 0

    def open(self) -> None:
        """Connect and read what a transaction needs to know. Raises ``sqlite3.Error``."""
        self.close()
        self._connection = open_writer(self._path)
        self._core = core_on(self._connection)
        self._forget()

    def close(self) -> None:
        if self._core is not None:
            self._core.close()
            self._core.engine.dispose()
            self._core = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def checkpoint(self) -> None:
        """Move the rest of the log into the file, so that the next transaction starts the log anew."""
        if self._connection is not None:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def maintain(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """What ``work`` does on the connection, as one transaction. Raises what it raises, and then nothing was
        done."""
        if self._connection is None:
            self.open()
        connection = self._connection
        assert connection is not None
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return found

    def write(self, batch: Batch, now_ms: int) -> None:
        """Commit ``batch``; when this returns it is on the disk. Raises ``sqlite3.Error`` and then nothing is."""
        if self._connection is None:
            self.open()
        connection, core = self._connection, self._core
        assert connection is not None
        assert core is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            slow = self._sort(batch, connection, core)
            if batch.kept:
                self._append(batch, connection, now_ms)
            if slow:
                self._project(slow, connection, core)
            if batch.records:
                records.apply(core, batch.records)
                for change in batch.records:
                    if type(change) is NameErased:
                        self._erase_name(change, connection, self.next_seq + len(batch.kept))
            if batch.changes:
                sessions.apply(connection, batch.changes)
            connection.execute("COMMIT")
        except BaseException:
            self._forget_after_failure()
            raise
        if batch.kept:
            self.next_seq = batch.first_seq + len(batch.kept)

    def _sort(self, batch: Batch, connection: sqlite3.Connection, core: Connection) -> list[ev.AnyEvent]:
        """Fill ``batch.kept`` and ``batch.documents``; returns the events that have projections."""
        states = self._states
        dirty: dict[str, latest.DeviceState] = {}
        slow: list[ev.AnyEvent] = []
        kept = batch.kept
        reading = ev.TelemetryReceived
        for position, event in enumerate(batch.events):
            if type(event) is reading:
                device = event.device
                state = states.get(device) or self._state(device, connection)
                if state is None:
                    batch.lost.add(position)
                    continue
                boot, seq = event.boot, event.seq
                if boot is not None and seq is not None and not state.seen.add(boot, seq):
                    batch.duplicates.add(position)
                    continue
                state.take(event)
                dirty[device] = state
            elif type(event) is ev.ReadingImported:
                state = states.get(event.device) or self._state(event.device, connection)
                if state is None:
                    batch.lost.add(position)
                    continue
                if state.take_imported(event):
                    dirty[event.device] = state
            elif type(event) in CHANGES:
                batch.changes.append(event)
                continue
            elif type(event) in RECORD_CHANGES:
                if self._gone and _of_device(event) in self._gone and self._is_late(event):
                    batch.lost.add(position)
                    continue
                if self._nameless and type(event) is Kept and type(event.record) is Account:
                    self._nameless.pop(event.record.name, None)
                batch.records.append(event)
                continue
            elif type(event) in _VOLATILE:
                batch.volatile.append(event)
                continue
            else:
                # In order, because later events of the batch may already speak of this device.
                if self._gone and getattr(event, "device", "") in self._gone and type(event) is not ev.DeviceRegistered:
                    # What was under way when it was removed; nobody would ever erase it.
                    batch.lost.add(position)
                    continue
                if self._nameless:
                    event = self._without_names(event)
                if type(event) is ev.DeviceRegistered:
                    identity = (event.contract, event.external_id)
                    if event.device in self._numbers or identity in self._taken:
                        # Two that found the id free at the same time: the first has it.
                        batch.lost.add(position)
                        continue
                    self._numbers[event.device] = devices.register(core, event, self.next_seq + len(kept))
                    self._identities[event.device] = identity
                    self._taken.add(identity)
                    self._gone.pop(event.device, None)
                    unclaimed.forget(core, event.contract, event.external_id)
                elif type(event) is ev.DeviceChanged:
                    devices.change(core, event)
                    if "external_id" in event.changes:
                        self._rename(event)
                elif type(event) is ev.DeviceRemoved:
                    contract, external_id = identity = self._identities.pop(event.device, ("", ""))
                    self._taken.discard(identity)
                    number = self._numbers.pop(event.device, None)
                    states.pop(event.device, None)
                    dirty.pop(event.device, None)
                    if number is not None:
                        devices.remove(core, event, number)
                        commands.remove(core, event.device)
                        presence.forget(core, event.device)
                        alerts.remove(core, event.device)
                        twins.forget(core, event.device)
                        status_log.remove(core, event.device)
                        readings.remove(connection, event.device)
                        chunks.forget(connection, number)
                        inbox.remove(core, event.device)
                        webhooks.remove(core, event.device)
                        updates.remove(core, event.device)
                        seq = self.next_seq + len(kept)
                        erasing.add(connection, Erased(DEVICE, event.device, seq, contract, (external_id,)))
                        self._note_gone(event.device, seq)
                elif type(event) is ev.HistoryErased or type(event) is ev.HistoryCorrected:
                    number = self._numbers.get(event.device)
                    if number is None:
                        batch.lost.add(position)
                        continue
                    chunks.erase(connection, number, event.key, event.t0, event.t1, self.next_seq + len(kept))
                slow.append(event)
                if type(event) in _FOLLOWED:
                    batch.followed.append((len(kept), event))
            kept.append(event)
        rows: list[tuple[int, bytes]] = []
        for device, state in dirty.items():
            data = state.encode()
            rows.append((state.number, data))
            batch.documents.append((device, data))
        if rows:
            latest.write(connection, rows)
        return slow

    def _note_gone(self, device: str, seq: int) -> None:
        if len(self._gone) >= _GONE_MOST:
            del self._gone[next(iter(self._gone))]
        self._gone[device] = seq

    def _is_late(self, change: Any) -> bool:
        """Whether it would keep something of a device that is gone; that it is gone may be delivered."""
        if type(change) is DeliveryKept:
            return bool(change.delivery.seq < self._gone[change.delivery.device])
        return True

    def _erase_name(self, change: NameErased, connection: sqlite3.Connection, seq: int) -> None:
        erased = Erased(PERSON, change.account, seq, "", change.others)
        erasing.add(connection, erased)
        self._nameless[change.account] = Eraser(erased)

    def _without_names(self, event: Any) -> Any:
        """What somebody's rule or alert still brings must not bring their name back."""
        for one in self._nameless.values():
            event = one.left_of(event)
        return event

    def _rename(self, event: ev.DeviceChanged) -> None:
        before = self._identities.get(event.device)
        if before is not None:
            self._taken.discard(before)
            self._identities[event.device] = identity = (before[0], str(event.changes["external_id"]))
            self._taken.add(identity)

    def _state(self, device: str, connection: sqlite3.Connection) -> latest.DeviceState | None:
        number = self._numbers.get(device)
        if number is None:
            return None
        state = self._states[device] = latest.load_state(connection, number)
        return state

    def _append(self, batch: Batch, connection: sqlite3.Connection, now_ms: int) -> None:
        times = [
            event.ts for event in batch.kept if type(event) is ev.TelemetryReceived or type(event) is ev.ReadingImported
        ]
        times += [ts for event in batch.kept if type(event) is ev.HistoryCorrected for ts, _ in event.points]
        batch.first_seq = self.next_seq
        data = journal.encode(batch.kept)
        self.bytes_written += len(data)
        journal.append(
            connection,
            self.next_seq,
            len(batch.kept),
            now_ms,
            min(times) if times else None,
            max(times) if times else None,
            data,
        )

    def _project(self, slow: Iterable[ev.AnyEvent], connection: sqlite3.Connection, core: Connection) -> None:
        lines: list[timeline.Entry] = []
        moved: list[CommandEvent] = []
        came: list[ev.PresenceChanged] = []
        raised: list[ev.AlertChanged] = []
        became: list[TwinEvent] = []
        said: list[status_log.Line] = []
        read: list[ev.SensorsRead] = []
        updated: list[updates.UpdateEvent] = []
        for event in slow:
            if type(event) is ev.DeviceRemoved:
                # Whoever has its name next must not read its story, nor what this batch would still add to it.
                gone = event.device
                self._timeline.remove(connection, gone)
                lines = [line for line in lines if line.device != gone]
                moved = [one for one in moved if one.device != gone]
                came = [one for one in came if one.device != gone]
                raised = [one for one in raised if one.device != gone]
                became = [one for one in became if one.device != gone]
                said = [one for one in said if one.device != gone]
                read = [one for one in read if one.device != gone]
                updated = [one for one in updated if one.device != gone]
                continue
            if type(event) in COMMAND_EVENTS:
                moved.append(event)  # type: ignore[arg-type]
            # Sightings are told late; a claim may have overtaken this one.
            if type(event) is ev.UnclaimedSeen and (event.contract, event.external_id) not in self._taken:
                unclaimed.note(core, event, self._unclaimed_entries)
            if type(event) is ev.PresenceChanged and event.device in self._numbers:
                came.append(event)
            if type(event) is ev.AlertChanged and event.device in self._numbers:
                raised.append(event)
            if type(event) in _STATUS and event.device in self._numbers:  # type: ignore[union-attr]
                log = self._loggers.get(self._identities[event.device][0])  # type: ignore[union-attr]
                logged = log(event) if log is not None else None
                if logged is not None:
                    said.append(status_log.Line(event.device, event.at, logged))  # type: ignore[union-attr]
            if type(event) is ev.SensorsRead and event.device in self._numbers:
                read.append(event)
            if type(event) in TWIN_EVENTS and event.device in self._numbers:  # type: ignore[union-attr]
                became.append(event)  # type: ignore[arg-type]
                if type(event) is ev.ReportedChanged:
                    said += self._appear(event)
            if type(event) in updates.UPDATE_EVENTS and event.device in self._numbers:  # type: ignore[union-attr]
                updated.append(event)  # type: ignore[arg-type]
            if type(event) is ev.NotificationRaised:
                inbox.add(core, event, self._inbox_kept)
                continue
            if type(event) is ev.Audited:
                audit.add(core, event)
                continue
            line = timeline_line(event)
            if line is not None:
                lines.append(line)
        if came:
            presence.keep(connection, came)
        if raised:
            self._alerts.apply(core, raised)
        if moved:
            self._commands.apply(core, moved)
        if said:
            # Before the twins: a line without a status has the one from before this batch.
            status_log.add(core, said)
        if read:
            readings.add(connection, read)
        if became:
            twins.follow(connection, became)
        if updated:
            updates.follow(core, updated)
        if lines:
            self._timeline.add(connection, lines)

    def _forget_after_failure(self) -> None:
        """Roll back and drop every working copy; a connection that cannot even do that is closed."""
        connection = self._connection
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
            self._forget()
        except sqlite3.Error:
            self.close()

    def _forget(self) -> None:
        self._states.clear()
        self._timeline.forget()
        self._commands.forget()
        connection, core = self._connection, self._core
        assert connection is not None
        assert core is not None
        self.next_seq = journal.next_seq(connection)
        registered, self._numbers = devices.load_all(core)
        self._identities = {device.id: (device.contract, device.external_id) for device in registered}
        self._taken = set(self._identities.values())
        # A removal that failed did not happen; one that is erased already holds until this process ends.
        self._gone = {device: seq for device, seq in self._gone.items() if device not in self._numbers}
        for one in erasing.pending(connection):
            if one.again:
                continue
            if one.erased.kind == PERSON:
                self._nameless[one.erased.name] = Eraser(one.erased)
            else:
                self._note_gone(one.erased.name, one.erased.seq)


def _of_device(change: Any) -> str:
    """The device that a record is about, empty for none."""
    held = change.record if type(change) is Kept else change.delivery if type(change) is DeliveryKept else None
    return str(getattr(held, "device", ""))


def timeline_line(event: ev.AnyEvent) -> timeline.Entry | None:
    """The line that an event adds to a story, if it adds one."""
    match event:
        case ev.Refused():
            return timeline.Entry(
                event.device,
                event.at,
                "refused",
                event.reason,
                event.where,
                event.detail,
                event.address,
                event.count,
            )
        case ev.Noticed():
            return timeline.Entry(event.device, event.at, event.kind, "", "", event.detail, "", event.count)
        case ev.DeviceConnected():
            return timeline.Entry(event.device, event.at, "connected", "", event.via, "", event.address, 1)
        case ev.DeviceDisconnected():
            return timeline.Entry(event.device, event.at, "disconnected", event.reason, "", event.detail, "", 1)
        case ev.DeviceRegistered():
            return timeline.Entry(event.device, event.at, "registered", "", event.contract, event.by, "", 1)
        case ev.DeviceChanged():
            names = ", ".join(sorted(name for name in event.changes if name != "key_hash"))
            return timeline.Entry(event.device, event.at, "changed", "", "", names, "", 1)
        case ev.PresenceChanged() if event.reason in ("silent", "heard", "status"):
            kind = "online" if event.online else "offline"
            return timeline.Entry(event.device, event.at, kind, "", "", event.reason, "", 1)
        case ev.RuleFired():
            return timeline.Entry(event.device, event.at, "rule_fired", "", event.rule, _fired(event), "", 1)
        case ev.RuleCleared():
            return timeline.Entry(event.device, event.at, "rule_cleared", "", event.rule, event.name, "", 1)
        case ev.AlertChanged() if event.change != "repeated":
            by = f" ({event.by})" if event.by else ""
            detail = f"{event.text}{by}{': ' if event.note else ''}{event.note}"
            return timeline.Entry(
                event.device, event.at, f"alert_{event.change}", event.severity, event.id, detail, "", 1
            )
        case ev.CommandQueued():
            detail = f"{_told(event.name, event.params)} ({event.by or event.origin})"
            return timeline.Entry(event.device, event.at, "command_queued", "", event.id, detail, "", 1)
        case ev.CommandReturned():
            return timeline.Entry(event.device, event.at, "command_returned", "", event.id, event.reason, "", 1)
        case ev.CommandEnded():
            return timeline.Entry(event.device, event.at, f"command_{event.state}", "", event.id, event.reason, "", 1)
        case ev.DesiredChanged():
            words = [f"{key}={_shown(value)}" for key, value in event.values.items()]
            words += [f"{key} no more" for key in event.removed]
            detail = f"{', '.join(words)[:160]} ({event.by})"
            return timeline.Entry(event.device, event.at, "desired", "", str(event.version), detail, "", 1)
        case ev.DesiredAgreed():
            keys = ", ".join(event.keys)[:160]
            return timeline.Entry(event.device, event.at, "desired_agreed", event.reason, "", keys, "", 1)
        case ev.DesiredFailed():
            return timeline.Entry(event.device, event.at, "desired_failed", "", "", _missed(event), "", 1)
        case ev.UpdateOffered():
            return timeline.Entry(event.device, event.at, "update_offered", "", event.rollout, event.release, "", 1)
        case ev.UpdateReported() if event.state != "downloading":
            kind, detail = f"update_{event.state}", f"{event.release}{': ' if event.reason else ''}{event.reason}"
            return timeline.Entry(event.device, event.at, kind, "", event.rollout, detail, "", 1)
        case ev.UpdateEnded():
            kind, detail = f"update_{event.state}", f"{event.release}{': ' if event.reason else ''}{event.reason}"
            return timeline.Entry(event.device, event.at, kind, "", event.rollout, detail, "", 1)
        case ev.UnclaimedSeen() if event.reason != "unclaimed" and not event.standing:
            detail = f"{event.contract} device {event.external_id or '(no serial)'}"
            return timeline.Entry("", event.at, "refused", event.reason, "", detail, event.address, event.count)
        case _:
            return None


def _fired(event: ev.RuleFired) -> str:
    """A firing in a line: the rule's name and the values that made it so."""
    detail = _told(event.name, event.values)
    return f"{detail} (late: nothing was moved)" if event.late else detail


def _missed(event: ev.DesiredFailed) -> str:
    """What was desired in vain, in a line."""
    parts = [
        f"{key} is to be {_shown(event.values.get(key))} and "
        + (f"is {_shown(event.reported[key])}" if key in event.reported else "is not reported")
        for key in event.keys
    ]
    return "; ".join(parts)[:200]


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:40]


def _told(name: str, params: dict[str, Any]) -> str:
    """A command in a line: its name and its short parameters."""
    plain = {key: value for key, value in params.items() if isinstance(value, bool | int | float | str)}
    shown = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in plain.items()]
    return f"{name} {' '.join(shown)}".strip()[:160]
