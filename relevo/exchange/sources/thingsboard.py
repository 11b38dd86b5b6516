"""CSV of ThingsBoard: the export of a time series table, the file of its bulk import, and a dump of ``ts_kv``.

A time series table gives ``Timestamp`` and a column for each key, with ``;`` or ``,`` between them, times being those
of the browser it was exported in: hence the zone. The file of a bulk import has a time column and the columns of keys,
or ``key,ts,value``. A dump of ``ts_kv`` has a column for each type:
``entity_id,key,ts,bool_v,str_v,long_v,dbl_v,json_v``, where ``key`` is a text, or a number of ``ts_kv_dictionary`` that
the names of the import explain.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from relevo.domain.cells import number_of
from relevo.domain.csv_records import Cell
from relevo.domain.stamps import parse_stamp
from relevo.errors import Invalid
from relevo.exchange.protocol import Fault, ImportWanted
from relevo.exchange.sources import Found, Row
from relevo.exchange.sources.columns import Columns, value_in

_TYPES: Final = ("bool_v", "str_v", "long_v", "dbl_v", "json_v")
_NULLS: Final = frozenset({"", "\\N", "NULL", "null"})


class ThingsBoard(Columns):
    """See the module."""

    def __init__(self, wanted: ImportWanted) -> None:
        super().__init__(wanted)
        self._at: dict[str, int] = {}

    def begin(self, names: list[str]) -> None:
        at = {name.casefold(): place for place, name in enumerate(names)}
        typed = any(name in at for name in _TYPES)
        if "key" in at and "ts" in at and (typed or "value" in at):
            self._at = at
            if "entity_id" not in at and not self._wanted.device:
                raise Invalid("import_options", "whose readings are these? Name a device")
            return
        super().begin(names)

    def row(self, line: int, cells: list[Cell]) -> Iterator[Found]:
        if not self._at:
            yield from super().row(line, cells)
            return
        key = cells[self._at["key"]].text
        entity = cells[self._at["entity_id"]].text if "entity_id" in self._at else ""
        try:
            ts = parse_stamp(cells[self._at["ts"]].text, self._wanted.time_format, self._zone)
            value = self._value(cells)
        except Invalid as problem:
            yield Fault(line, key, problem.reason, problem.message)
            return
        if value is not None:
            device = self._names.target(entity) or self._wanted.device or entity
            yield Row(line, device, ts, {self._names.target(key) or key: value})

    def _value(self, cells: list[Cell]) -> Any:
        for name in _TYPES:
            at = self._at.get(name)
            if at is None or (cells[at].text in _NULLS and not (name == "str_v" and cells[at].quoted)):
                continue
            return _typed(name, cells[at].text)
        return value_in(cells[self._at["value"]].text, self._wanted.decimal) if "value" in self._at else None


def _typed(name: str, text: str) -> Any:
    if name == "str_v":
        return text
    if name == "bool_v":
        if text.casefold() not in ("t", "true", "f", "false", "1", "0"):
            raise Invalid("value_type", f"bool_v: {text[:40]!r} is neither true nor false")
        return text.casefold() in ("t", "true", "1")
    if name == "json_v":
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise Invalid("json_malformed", f"json_v: {text[:40]!r} is no JSON") from None
    number = number_of(text)
    if number is None:
        raise Invalid("value_type", f"{name}: {text[:40]!r} is no number")
    return float(number) if name == "dbl_v" else number
