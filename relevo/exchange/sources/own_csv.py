"""CSV as Relevo exports it, wide and long (docs/export.md)."""

from collections.abc import Iterator
from typing import Any, Final

from relevo.domain.cells import restored, value_of
from relevo.domain.csv_records import Cell, Record
from relevo.domain.stamps import parse_stamp
from relevo.errors import Invalid
from relevo.exchange.protocol import Fault
from relevo.exchange.sources import Found, Row
from relevo.exchange.sources.text import Records

_LONG: Final = [Cell(name, False) for name in ("time", "device", "key", "value")]


class OwnCsv:
    """See the module."""

    def __init__(self) -> None:
        self.lines = 0
        self.notes: list[str] = []
        self._records = Records()
        self._keys: list[str] | None = None
        self._long = False
        self._cells = 0

    def feed(self, data: bytes) -> Iterator[Found]:
        yield from self._take(self._records.feed(data))

    def end(self) -> Iterator[Found]:
        yield from self._take(self._records.feed(b"", final=True))
        if self._keys is None:
            raise Invalid("import_format", "the file is empty")

    def _take(self, records: Iterator[Record]) -> Iterator[Found]:
        for record in records:
            if self._keys is None:
                self._begin(record)
                continue
            self.lines += 1
            if record.problem or len(record.cells) != self._cells:
                why = record.problem or f"has {len(record.cells)} cells, the first line has {self._cells}"
                yield Fault(record.line, "", "csv_malformed", why)
                continue
            yield from self._row(record.line, record.cells)

    def _begin(self, record: Record) -> None:
        names = [cell.text for cell in record.cells]
        if names[:2] != ["time", "device"]:
            raise Invalid(
                "import_format",
                "the first line of a CSV file of Relevo begins with time,device: for another, name its columns with "
                "the format columns",
            )
        # A spreadsheet that saved the file has taken the quotes away.
        self._long = record.cells == _LONG
        self._keys = [restored(name) for name in names[2:]]
        self._cells = len(names)

    def _row(self, line: int, cells: list[Cell]) -> Iterator[Found]:
        assert self._keys is not None
        try:
            ts = parse_stamp(cells[0].text)
        except Invalid as problem:
            yield Fault(line, "time", problem.reason, problem.message)
            return
        device = restored(cells[1].text)
        named = [(restored(cells[2].text), cells[3])] if self._long else zip(self._keys, cells[2:], strict=True)
        values: dict[str, Any] = {}
        for key, cell in named:
            try:
                value = value_of(cell.text, cell.quoted)
            except Invalid as problem:
                yield Fault(line, key, problem.reason, problem.message)
                continue
            if value is not None:
                values[key] = value
        if values:
            yield Row(line, device, ts, values)
