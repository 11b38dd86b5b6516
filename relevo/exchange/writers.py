"""Rows of history as CSV and JSON lines (docs/export.md)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from relevo.domain.cells import harmless, text_cell, value_cell
from relevo.exchange.protocol import ExportWanted
from relevo.store.history.pieces import Row

_encode: Final = msgspec.json.Encoder().encode
_BOM: Final = b"\xef\xbb\xbf"


class Writer(Protocol):
    """Bytes of a file: its beginning, the rows of one device after another, its end."""

    def head(self) -> bytes: ...

    def rows(self, device: str, rows: Sequence[Row]) -> bytes: ...

    def foot(self) -> bytes: ...


class Stamps:
    """Times as a file shows them: milliseconds, or ISO 8601 in UTC or in a zone with its offset."""

    def __init__(self, times: str, zone: str) -> None:
        self._numbers = times == "ms"
        self._zone = ZoneInfo(zone) if zone else None
        self._second = -1
        self._begin = self._end = ""

    def text(self, ts: int) -> str:
        if self._numbers:
            return str(ts)
        second, rest = divmod(ts, 1_000)
        if second != self._second:
            self._second = second
            moment = datetime.fromtimestamp(second, self._zone or UTC).isoformat()
            self._begin = f"{moment[:19]}."
            self._end = "Z" if self._zone is None else moment[19:]
        return f"{self._begin}{rest:03}{self._end}"


class Wide:
    """CSV with one row for a time and a column for each key."""

    def __init__(self, wanted: ExportWanted, keys: Sequence[str]) -> None:
        self._stamps = Stamps(wanted.times, wanted.zone)
        self._keys = keys
        self._bom = wanted.bom

    def head(self) -> bytes:
        # Keys are texts, so that one called "value" is not mistaken for the column of the long form.
        line = ",".join(["time", "device", *map(text_cell, self._keys)])
        return (_BOM if self._bom else b"") + f"{line}\r\n".encode()

    def rows(self, device: str, rows: Sequence[Row]) -> bytes:
        stamp, keys, cell = self._stamps.text, self._keys, value_cell
        name = harmless(device)
        lines = []
        for ts, values in rows:
            cells = [cell(values[key]) if key in values else "" for key in keys]
            lines.append(f"{stamp(ts)},{name},{','.join(cells)}\r\n")
        return "".join(lines).encode()

    def foot(self) -> bytes:
        return b""


class Long:
    """CSV with one row for each value."""

    def __init__(self, wanted: ExportWanted) -> None:
        self._stamps = Stamps(wanted.times, wanted.zone)
        self._bom = wanted.bom

    def head(self) -> bytes:
        return (_BOM if self._bom else b"") + b"time,device,key,value\r\n"

    def rows(self, device: str, rows: Sequence[Row]) -> bytes:
        stamp, cell = self._stamps.text, value_cell
        name = harmless(device)
        keys: dict[str, str] = {}
        lines = []
        for ts, values in rows:
            begin = f"{stamp(ts)},{name},"
            for key, value in values.items():
                shown = keys.get(key) or keys.setdefault(key, text_cell(key))
                lines.append(f"{begin}{shown},{cell(value)}\r\n")
        return "".join(lines).encode()

    def foot(self) -> bytes:
        return b""


class JsonLines:
    """One reading a line, as ``POST /api/v1/telemetry`` takes them, and a last line that says that it is whole."""

    def __init__(self) -> None:
        self._readings = self._points = 0

    def head(self) -> bytes:
        return b""

    def rows(self, device: str, rows: Sequence[Row]) -> bytes:
        self._readings += len(rows)
        self._points += sum(len(values) for _, values in rows)
        return b"".join(_encode({"device": device, "ts": ts, "values": values}) + b"\n" for ts, values in rows)

    def foot(self) -> bytes:
        return _encode({"end": True, "readings": self._readings, "points": self._points}) + b"\n"


def writer(wanted: ExportWanted, keys: Sequence[str]) -> Writer:
    """What writes the format that is wanted, Parquet aside."""
    if wanted.format == "jsonl":
        return JsonLines()
    return Wide(wanted, keys) if wanted.form == "wide" else Long(wanted)
