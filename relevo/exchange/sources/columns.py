"""Any CSV with a column of times and columns of values, by what is said of its columns (docs/import.md)."""

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from relevo.domain.cells import number_of
from relevo.domain.csv_records import Cell, Record
from relevo.domain.stamps import parse_stamp
from relevo.errors import Invalid
from relevo.exchange.protocol import Fault, ImportWanted
from relevo.exchange.sources import Found, Row
from relevo.exchange.sources.mapping import Names, Place
from relevo.exchange.sources.text import Records

_TIMES: Final = ("time", "timestamp", "ts", "datetime", "date", "date_time", "zeit", "fecha", "hora", "data")
_NOTHING: Final = frozenset({"", "null", "none", "nan", "na", "n/a", "-", "unknown", "unavailable"})


class Columns:
    """See the module. A value is a number, ``true`` or ``false``, or a text, whether it stands in quotes or not."""

    def __init__(self, wanted: ImportWanted) -> None:
        self.lines = 0
        self.notes: list[str] = []
        self._wanted = wanted
        self._names = Names(wanted.columns)
        self._zone: tzinfo = ZoneInfo(wanted.zone) if wanted.zone else UTC
        self._records = Records(wanted.delimiter)
        self._cells = 0
        self._time = 0
        self._device = -1
        self._places: list[tuple[int, Place]] = []

    def feed(self, data: bytes) -> Iterator[Found]:
        yield from self._take(self._records.feed(data))

    def end(self) -> Iterator[Found]:
        yield from self._take(self._records.feed(b"", final=True))
        if not self._cells:
            raise Invalid("import_format", "the file is empty")

    def _take(self, records: Iterator[Record]) -> Iterator[Found]:
        for record in records:
            if not self._cells:
                self.begin([cell.text.strip() for cell in record.cells])
                self._cells = len(record.cells)
                continue
            self.lines += 1
            if record.problem or len(record.cells) != self._cells:
                why = record.problem or f"has {len(record.cells)} cells, the first line has {self._cells}"
                yield Fault(record.line, "", "csv_malformed", why)
                continue
            yield from self.row(record.line, record.cells)

    def begin(self, names: list[str]) -> None:
        """Find out what the columns are. Raises :class:`Invalid`."""
        wanted = self._wanted
        self._time = self._find(names, wanted.time_column, _TIMES)
        if wanted.device_column:
            self._device = self._find(names, wanted.device_column, ())
        elif not wanted.device and not any("/" in one for one in wanted.columns.values()):
            raise Invalid("import_options", "whose readings are these? Name a device, or the column with devices")
        for at, name in enumerate(names):
            if at in (self._time, self._device):
                continue
            place = self._names.place(name)
            if place is None and not self._names.given and name:
                place = Place("", name)
            if place is not None:
                self._places.append((at, place))
        if not self._places:
            raise Invalid("import_options", f"none of the columns is to be imported: {', '.join(names)[:200]}")

    def _find(self, names: list[str], wanted: str, usual: tuple[str, ...]) -> int:
        if wanted:
            if wanted in names:
                return names.index(wanted)
            raise Invalid("import_options", f"there is no column {wanted!r}, but {', '.join(names)[:200]}")
        for at, name in enumerate(names):
            if name.casefold() in usual:
                return at
        raise Invalid("import_options", f"which column has the time? There are {', '.join(names)[:200]}")

    def row(self, line: int, cells: list[Cell]) -> Iterator[Found]:
        """What one line says."""
        wanted = self._wanted
        try:
            ts = parse_stamp(cells[self._time].text, wanted.time_format, self._zone)
        except Invalid as problem:
            yield Fault(line, "time", problem.reason, problem.message)
            return
        named = cells[self._device].text if self._device >= 0 else wanted.device
        by_device: dict[str, dict[str, Any]] = {}
        for at, place in self._places:
            value = value_in(cells[at].text, wanted.decimal)
            if value is not None:
                by_device.setdefault(place.device or named, {})[place.key] = value
        for device, values in by_device.items():
            yield Row(line, device, ts, values)


def value_in(text: str, decimal: str = ".") -> Any:
    """What somebody else's cell says, ``None`` for nothing."""
    plain = text.strip()
    folded = plain.casefold()
    if folded in _NOTHING:
        return None
    if folded in ("true", "false"):
        return folded == "true"
    shown = plain.replace(".", "").replace(decimal, ".") if decimal != "." else plain
    number = number_of(shown)
    return text if number is None else number
