"""Rows of history as Parquet (docs/export.md): columns ``time``, ``device`` and one for each key.

A column has one type: 64-bit integers, doubles, booleans or texts by what its key has in the span; a key of several
kinds, and one of lists and objects, has JSON in texts, marked as such in the field's metadata. Row groups are bounded,
so that a file of any size needs no more memory than one of them.
"""

import io
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from relevo.exchange.protocol import ExportWanted
from relevo.store.history import layout
from relevo.store.history.pieces import Row, chunk_forms, tail_values

_ROWS_MOST: Final = 65_536
_CELLS_MOST: Final = 1_000_000
_BYTES_MOST: Final = 16_000_000
# What a value is about, other than a text.
_SMALL: Final = 16
_FORMS: Final = {
    layout.INTEGERS: {"int"},
    layout.DECIMALS: {"float"},
    layout.FLOATS: {"float"},
    layout.BOOLEANS: {"bool"},
    layout.TEXTS: {"str"},
    layout.NUMBERS: {"int", "float"},
}
_TYPES: Final[dict[str, Any]] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "str": pa.string(),
    "json": pa.string(),
}
_json: Final = msgspec.json.Encoder().encode


def kinds(connection: sqlite3.Connection, wanted: ExportWanted, keys: Sequence[str]) -> dict[str, str]:
    """The kind of column of each key: int, float, bool, str or json. Raises :class:`relevo.errors.Damaged`."""
    found: dict[str, set[str]] = {key: set() for key in keys}
    # Before the chunks, into which they may be moved meanwhile.
    for _, key, value in tail_values(connection, wanted.devices, keys, wanted.start, wanted.end):
        if key in found:
            found[key].add(type(value).__name__)
    for device, since in wanted.devices:
        for key, form, data in chunk_forms(connection, device, since, keys, wanted.start, wanted.end):
            known = _FORMS.get(form)
            if known is not None:
                found[key] |= known
            elif len(found[key]) < len(_TYPES):
                found[key] |= {type(value).__name__ for value in layout.plain(layout.decode_values(data)[1])}
    return {key: _kind(names) for key, names in found.items()}


def _kind(names: set[str]) -> str:
    if names <= {"int", "float"} and names:
        return "float" if "float" in names else "int"
    return names.pop() if len(names) == 1 and names <= _TYPES.keys() else "json"


class _Sink(io.RawIOBase):
    """What was written and not taken yet."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def take(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held


class ParquetWriter:
    """See :class:`relevo.exchange.writers.Writer`. A file without its end has no footer and cannot be opened."""

    def __init__(self, wanted: ExportWanted, keys: Sequence[str], kinds_of: dict[str, str]) -> None:
        self._keys = list(keys)
        self._kinds = kinds_of
        self._sink = _Sink()
        fields = [
            pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
            pa.field("device", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        ]
        names = {"time", "device"}
        for key in self._keys:
            name = key
            while name in names:
                name += "_"
            names.add(name)
            about = {"relevo.key": key, **({"relevo.json": "true"} if kinds_of[key] == "json" else {})}
            fields.append(pa.field(name, _TYPES[kinds_of[key]], metadata=about))
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._most = max(min(_ROWS_MOST, _CELLS_MOST // max(len(keys), 1)), 1_000)
        self._times: list[int] = []
        self._devices: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def head(self) -> bytes:
        return self._sink.take()

    def rows(self, device: str, rows: Sequence[Row]) -> bytes:
        """Raises ``pyarrow.ArrowException`` when values of another kind arrived since the beginning."""
        for ts, values in rows:
            self._times.append(ts)
            self._devices.append(device)
            self._rows.append(values)
            self._bytes += sum(len(value) if type(value) is str else _SMALL for value in values.values())
        if len(self._rows) >= self._most or self._bytes >= _BYTES_MOST:
            self._write()
        return self._sink.take()

    def foot(self) -> bytes:
        if self._rows:
            self._write()
        self._writer.close()
        return self._sink.take()

    def _write(self) -> None:
        rows, count = self._rows, len(self._rows)
        columns = [
            pa.array(self._times, self._schema.field(0).type),
            pa.array(self._devices, pa.string()).dictionary_encode(),
        ]
        for place, key in enumerate(self._keys, 2):
            columns.append(pa.array(_column(rows, key, self._kinds[key]), self._schema.field(place).type))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=count)
        self._times, self._devices, self._rows, self._bytes = [], [], [], 0


def _column(rows: Sequence[dict[str, Any]], key: str, kind: str) -> list[Any]:
    cells = [row.get(key) for row in rows]
    if kind == "float":
        return [None if one is None else float(one) for one in cells]
    if kind == "json":
        return [None if one is None else _json(one).decode() for one in cells]
    return cells
