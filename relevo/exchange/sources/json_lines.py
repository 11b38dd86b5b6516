"""JSON lines: a reading a line, ``{"device", "ts", "values"}``, as Relevo exports them (docs/export.md)."""

from collections.abc import Iterator
from typing import Final

from relevo.domain.stamps import parse_stamp
from relevo.errors import Invalid
from relevo.exchange.protocol import Fault
from relevo.exchange.sources import Found, Row
from relevo.wire.strict_json import loads_object

_LINE_MOST: Final = 4_000_000


class JsonLines:
    """See the module."""

    def __init__(self) -> None:
        self.lines = 0
        self.notes: list[str] = []
        self._rest = b""
        self._skipping = False
        self._whole = False

    def feed(self, data: bytes) -> Iterator[Found]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            yield from self._take(line)
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > _LINE_MOST:
            self.lines += 1
            yield Fault(self.lines, "", "value_too_large", f"the line has more than {_LINE_MOST} bytes")
            self._skipping, self._rest = True, b""

    def end(self) -> Iterator[Found]:
        yield from self._take(self._rest)
        if not self._whole:
            self.notes.append('the file has no last line {"end": true, …}: if Relevo exported it, it is not whole')

    def _take(self, line: bytes) -> Iterator[Found]:
        if not line.strip():
            return
        self.lines += 1
        try:
            body = loads_object(line)
            if body.get("end") is True and "values" not in body:
                self._whole = True
                return
            device, ts, values = body.get("device"), body.get("ts"), body.get("values")
            if type(device) is not str:
                raise Invalid("reading_malformed", "device must be a text")
            if type(values) is not dict:
                raise Invalid("reading_malformed", "values must be an object")
            if type(ts) is str:
                ts = parse_stamp(ts)
            elif type(ts) is not int:
                raise Invalid("reading_malformed", "ts must be milliseconds UTC or ISO 8601")
        except Invalid as problem:
            yield Fault(self.lines, "", problem.reason, problem.message)
            return
        yield Row(self.lines, device, ts, values)
