"""What was opened a moment ago, for the next question about it: a page that is looked at asks again and again.

What is remembered goes by the bytes that it was made of, and not by the numbers of rows, which may be given away again:
so nothing that is remembered can be out of date. The arrays are shared and can be read alone.
"""

from collections import OrderedDict
from typing import Final

import numpy as np

from relevo.store.history.buckets import Buckets, Column, column, decode
from relevo.store.history.compaction import opened
from relevo.store.history.layout import Times
from relevo.store.history.packing import Ints

BYTES_MOST: Final = 32 * 1024 * 1024
# What was erased is not remembered for longer.
KEPT_S: Final = 600.0
# An entry's own, and one value that is an object.
_ENTRY: Final = 500
_OBJECT: Final = 64
# Columns that are mostly one and the same number.
_OFTEN_ONE: Final = ("n", "m", "dropped", "on")

_Key = tuple[bytes, bytes]


class Opened:
    """Blocks of roll-ups and chunks by their bytes, those that were asked for last."""

    def __init__(self, bytes_most: int = BYTES_MOST) -> None:
        self._most = bytes_most
        self._size = 0
        self._held: OrderedDict[_Key, tuple[int, dict[str, Column]]] = OrderedDict()
        self._since_s: float | None = None

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return self._size

    def renew(self, now_s: float) -> None:
        """Forget everything when the first of it may have been remembered for :data:`KEPT_S` seconds; ``now_s`` are
        those of any clock that only goes on. For the time before each question."""
        if self._since_s is None or not self._held:
            self._since_s = now_s
        elif now_s - self._since_s >= KEPT_S:
            self._held.clear()
            self._size = 0
            self._since_s = now_s

    def block(self, data: bytes, wanted: frozenset[str]) -> Buckets:
        """The columns ``wanted`` of a block, and perhaps others. Raises :class:`relevo.errors.Damaged`."""
        found = self._held.get((data, b""))
        have = found[1] if found is not None else {}
        missing = wanted - have.keys()
        if found is not None and not missing:
            self._held.move_to_end((data, b""))
            return Buckets(have)
        columns = decode(data, missing).columns
        for name in _OFTEN_ONE:
            if name in columns:
                columns[name] = _short(columns[name])
        columns = {**columns, **have}
        self._keep((data, b""), columns)
        return Buckets(columns)

    def chunk(self, of_times: bytes, data: bytes) -> tuple[Ints, Column]:
        """Times and values of a chunk. Raises :class:`relevo.errors.Damaged`."""
        times, values = self.times_and_values(of_times, data)
        return times.ts, values

    def times_and_values(self, of_times: bytes, data: bytes) -> tuple[Times, Column]:
        """The same with arrival numbers and qualities, see :class:`layout.Times`."""
        key = (of_times, data)
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            columns = found[1]
        else:
            times, values = opened(of_times, data)
            columns = {name: _short(one) for name, one in times._asdict().items()} | {"values": column(values)}
            self._keep(key, columns)
        return Times(columns["ts"], columns["seq"], columns["quality"]), columns["values"]

    def _keep(self, key: _Key, columns: dict[str, Column]) -> None:
        size = _ENTRY + len(key[0]) + len(key[1])
        for one in {id(one): one for one in columns.values()}.values():
            one.flags.writeable = False
            size += _size(one)
        before = self._held.pop(key, None)
        if before is not None:
            self._size -= before[0]
        self._held[key] = (size, columns)
        self._size += size
        while self._size > self._most and self._held:
            self._size -= self._held.popitem(last=False)[1][0]


def _size(values: Column) -> int:
    if values.strides == (0,):
        return values.itemsize
    return values.nbytes if values.dtype != object else len(values) * _OBJECT


def _short(values: Column) -> Column:
    """The same in no memory, where all are one number."""
    if len(values) > 1 and values.dtype != object and values[0] == values[-1] and bool((values == values[0]).all()):
        return np.broadcast_to(values[0], values.shape)
    return values
