"""The recorder database of Home Assistant (``home-assistant_v2.db``), of its present layout and of earlier ones.

States: since 2023.4 ``states`` names entities by ``metadata_id`` in ``states_meta`` and has times as seconds in
``last_updated_ts``; before, ``entity_id`` and, until 2023.2, a text ``last_updated`` in UTC. Rows of both kinds may
stand beside each other while a database is converted. Attributes are JSON in ``state_attributes``, and before 2022.4
in ``states.attributes``.

Statistics: ``statistics`` an hour, ``statistics_short_term`` five minutes, what they are of in ``statistics_meta``.
They stand in for what the recorder has deleted: only what is older than an entity's first state counts. Of what is
summed up it is the state (a meter's reading), of what is measured the mean, at the time at which its span begins.

``unknown`` and ``unavailable`` are gaps; ``on`` and ``off`` booleans; numbers numbers, anything else a text.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from relevo.domain.cells import number_of
from relevo.domain.stamps import parse_stamp
from relevo.errors import Invalid
from relevo.exchange.protocol import Fault, ImportWanted
from relevo.exchange.sources import Found, Row
from relevo.exchange.sources.mapping import Names, Place

DEVICE: Final = "home-assistant"
_MAGIC: Final = b"SQLite format 3\0"
_PAGE: Final = 2_000
_GAPS: Final = frozenset({"unknown", "unavailable", ""})


class HomeAssistant:
    """See the module. The bytes are put into ``wanted.path`` first, because such a file cannot be read from front to
    back."""

    def __init__(self, wanted: ImportWanted) -> None:
        self.lines = 0
        self.notes: list[str] = []
        self.units: dict[str, dict[str, str]] = {}
        self._wanted = wanted
        self._names = Names(wanted.columns)
        self._path = Path(wanted.path)
        self._file = self._path.open("xb")
        self._begun = b""

    def feed(self, data: bytes) -> Iterator[Found]:
        if len(self._begun) < len(_MAGIC):
            self._begun += data[: len(_MAGIC)]
            if not _MAGIC.startswith(self._begun[: len(_MAGIC)]):
                self._file.close()
                raise Invalid("import_format", "the file is no SQLite database: home-assistant_v2.db is wanted")
        self._file.write(data)
        yield from ()

    def end(self) -> Iterator[Found]:
        self._file.close()
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            # Somebody else's file may define anything.
            connection.execute("PRAGMA trusted_schema = OFF")
            yield from self._all(connection)
        except sqlite3.DatabaseError as error:
            raise Invalid("import_format", f"the database cannot be read: {error}") from None
        finally:
            connection.close()
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _all(self, connection: sqlite3.Connection) -> Iterator[Found]:
        columns = _columns(connection, "states")
        if "state" not in columns:
            raise Invalid("import_format", "the database has no table of states: home-assistant_v2.db is wanted")
        entity, joined, when = _expressions(connection, columns)
        self._say_units(connection, entity, joined, columns)
        if self._wanted.statistics and "start" in "".join(_columns(connection, "statistics")):
            yield from self._statistics(connection, entity, joined, when)
        at = 0
        while True:
            rows = connection.execute(
                f"SELECT s.state_id, {entity}, s.state, {when} FROM states s {joined} "  # noqa: S608
                "WHERE s.state_id > ? ORDER BY s.state_id LIMIT ?",
                (at, _PAGE),
            ).fetchall()
            if not rows:
                return
            for row, name, state, seen in rows:
                self.lines += 1
                at = row
                yield from self._found(row, name, None if state in _GAPS else _value(state), seen)

    def _found(self, row: int, name: str | None, value: Any, seen: Any) -> Iterator[Found]:
        if not name or value is None:
            return
        place = self._place(name)
        if place is None:
            return
        try:
            ts = round(seen * 1_000) if isinstance(seen, int | float) else parse_stamp(str(seen), "iso")
        except Invalid as problem:
            yield Fault(row, name, problem.reason, problem.message)
            return
        yield Row(row, place.device or self._wanted.device or DEVICE, ts, {place.key: value})

    def _place(self, name: str) -> Place | None:
        """Where an entity goes: with names given those alone, else all of them by their own ids."""
        place = self._names.place(name)
        return Place("", name) if place is None and not self._names.given else place

    def _statistics(self, connection: sqlite3.Connection, entity: str, joined: str, when: str) -> Iterator[Found]:
        """What is older than the states, and of that five minutes before hours."""
        first: dict[str, float] = {}
        for name, seen in connection.execute(
            f"SELECT {entity}, min({when}) FROM states s {joined} GROUP BY 1"  # noqa: S608
        ):
            if name and seen is not None:
                first[name] = _seconds(seen)
        known = dict(connection.execute("SELECT id, statistic_id FROM statistics_meta"))
        sums = {row[0] for row in connection.execute("SELECT id FROM statistics_meta WHERE has_sum")}
        for table in ("statistics_short_term", "statistics"):
            columns = _columns(connection, table)
            if not columns:
                continue
            begin = (
                "coalesce(start_ts, start)"
                if {"start_ts", "start"} <= columns
                else ("start_ts" if "start_ts" in columns else "start")
            )
            earliest = dict(first)
            at = 0
            while True:
                rows = connection.execute(
                    f"SELECT id, metadata_id, {begin}, mean, state FROM {table} "  # noqa: S608
                    "WHERE id > ? ORDER BY id LIMIT ?",
                    (at, _PAGE),
                ).fetchall()
                if not rows:
                    break
                for row, of, seen, mean, state in rows:
                    self.lines += 1
                    at = row
                    name = known.get(of)
                    value = state if of in sums and state is not None else mean
                    if name is None or seen is None or value is None:
                        continue
                    seconds = _seconds(seen)
                    if name in first and seconds >= first[name]:
                        continue
                    earliest[name] = min(earliest.get(name, seconds), seconds)
                    yield from self._found(row, name, value, seconds)
            first = earliest

    def _say_units(self, connection: sqlite3.Connection, entity: str, joined: str, columns: set[str]) -> None:
        """Units stand in the attributes of the newest state of each entity."""
        shared = "attributes_id" in columns and _columns(connection, "state_attributes")
        attributes = "coalesce(a.shared_attrs, s.attributes)" if shared else "s.attributes"
        more = "LEFT JOIN state_attributes a ON a.attributes_id = s.attributes_id" if shared else ""
        rows = connection.execute(
            f"SELECT {entity}, {attributes} FROM states s {joined} {more} WHERE s.state_id IN "  # noqa: S608
            f"(SELECT max(s.state_id) FROM states s {joined} GROUP BY {entity})"
        )
        for name, text in rows:
            try:
                found = msgspec.json.decode(text) if text else {}
            except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
                continue
            unit = found.get("unit_of_measurement") if isinstance(found, dict) else None
            place = self._place(name) if name else None
            if isinstance(unit, str) and place is not None:
                self.units.setdefault(place.device or self._wanted.device or DEVICE, {})[place.key] = unit[:32]


def _expressions(connection: sqlite3.Connection, columns: set[str]) -> tuple[str, str, str]:
    """SQL for an entity's id, the join that it needs, and the time of a state."""
    meta = "metadata_id" in columns and bool(_columns(connection, "states_meta"))
    named = "entity_id" in columns
    entity = "s.entity_id"
    if meta:
        entity = "coalesce(m.entity_id, s.entity_id)" if named else "m.entity_id"
    joined = "LEFT JOIN states_meta m ON m.metadata_id = s.metadata_id" if meta else ""
    stamps = [f"s.{name}" for name in ("last_updated_ts", "last_updated") if name in columns]
    when = f"coalesce({', '.join(stamps)})" if len(stamps) > 1 else stamps[0] if stamps else "NULL"
    return entity, joined, when


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _value(state: str) -> Any:
    if state in ("on", "off"):
        return state == "on"
    number = number_of(state)
    return state if number is None else number


def _seconds(seen: Any) -> float:
    return float(seen) if isinstance(seen, int | float) else parse_stamp(str(seen), "iso") / 1_000
