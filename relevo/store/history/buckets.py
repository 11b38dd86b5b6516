"""What is kept of the points of an hour or a day: columns, how they are made of shorter ones, and their bytes.

A *bucket* has how many points there are and the first and last of them; of numbers and booleans (as 0 and 1) also the
lowest and highest with their times, so that each point of a chart is one that was measured; their sum; and ``dropped``,
the sum of all falls, with which what a counter rose by is ``last - first + dropped``: a fall adds nothing, because a
replaced meter begins at any number. Of booleans there is for how many milliseconds they were true, each until the next
point; of all kinds, the longest silence between two points.

Everything is associative: a point is a bucket of one, and :meth:`Buckets.reduced` makes hours of points, days of hours
and any interval of what there is. Docs: docs/series.md.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from relevo.errors import Damaged
from relevo.store.history.layout import LAYOUT, NONSENSE, decode_values, encode_values
from relevo.store.history.packing import Ints, Source, get_ints, put_ints, put_number

Column = NDArray[Any]

# The order is the number of a column in a block's bytes: new ones are added at the end.
COLUMNS: Final = (
    "start", "n", "first_ts", "first", "last_ts", "last", "m", "min_ts", "min", "max_ts", "max", "sum",
    "dropped", "begun", "ended", "on", "silence_ts", "silence",
)  # fmt: skip
_TIMES: Final = frozenset({"first_ts", "last_ts", "min_ts", "max_ts", "silence_ts"})
_WHOLE: Final = frozenset({"n", "m", "on", "silence"}) | _TIMES
# What a question needs; ``start`` always.
NEEDED: Final[dict[str, frozenset[str]]] = {
    "count": frozenset({"n"}),
    "first": frozenset({"n", "first_ts", "first"}),
    "last": frozenset({"n", "last_ts", "last"}),
    "min": frozenset({"n", "m", "min_ts", "min"}),
    "max": frozenset({"n", "m", "max_ts", "max"}),
    "sum": frozenset({"n", "m", "sum"}),
    "mean": frozenset({"n", "m", "sum"}),
    "increase": frozenset({"n", "m", "begun", "ended", "dropped"}),
    "on": frozenset({"n", "on", "first_ts", "last_ts", "last"}),
    "silence": frozenset({"n", "first_ts", "last_ts", "silence_ts", "silence"}),
}
EVERYTHING: Final = frozenset(COLUMNS)
# Beyond, floats are not exact any more.
_EXACT: Final = 2**53


def needed(names: Iterable[str]) -> frozenset[str]:
    """The columns for these questions."""
    return frozenset({"start"}).union(*(NEEDED[name] for name in names))


def column(values: Sequence[Any] | Column) -> Column:
    """Values as an array of integers, floats or booleans, or of objects where they are not all of one such kind."""
    if isinstance(values, np.ndarray):
        return values
    kinds = set(map(type, values))
    if len(kinds) == 1:
        kind = {int: np.int64, float: np.float64, bool: np.bool_}.get(kinds.pop())
        if kind is not None:
            return np.array(values, kind)
    found = np.empty(len(values), object)
    for at, value in enumerate(values):
        found[at] = value
    return found


def joined(parts: Sequence[Column]) -> Column:
    """One after the other, each value of the type it has."""
    if len(parts) == 1:
        return parts[0]
    held = [one for one in parts if len(one)]
    if len({one.dtype for one in held}) <= 1:
        return np.concatenate(held or parts)
    return np.concatenate([one if one.dtype == object else _as_objects(one) for one in held])


def _as_objects(values: Column) -> Column:
    found = np.empty(len(values), object)
    found[:] = values.tolist()
    return found


def numbers(values: Column) -> tuple[Column, NDArray[np.bool_] | None]:
    """The values as numbers, anything else as 0; and which ones are numbers, nothing when all are."""
    if values.dtype != object:
        return (values.astype(np.int64) if values.dtype == np.bool_ else values), None
    kept = np.fromiter((isinstance(one, int | float) for one in values), np.bool_, len(values))
    found = np.fromiter(
        (float(one) if keep else 0.0 for one, keep in zip(values, kept.tolist(), strict=True)), np.float64, len(values)
    )
    return found, None if bool(kept.all()) else kept


def _summed(values: Column, at: Ints) -> Column:
    if values.dtype == object:
        values = numbers(values)[0]
    if (
        values.dtype != np.float64
        and len(values)
        and max(-int(values.min()), int(values.max())) > _EXACT // len(values)
    ):
        values = values.astype(np.float64)
    found: Column = np.add.reduceat(values, at)
    return found


class Buckets:
    """Columns of equal length by name, those that were asked for; in the order of time, and none empty."""

    __slots__ = ("columns",)

    def __init__(self, columns: dict[str, Column]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["start"])

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def where(self, rows: Any) -> "Buckets":
        """Some of them: a slice, a mask or places."""
        return Buckets({name: one[rows] for name, one in self.columns.items()})

    def only(self, wanted: frozenset[str]) -> "Buckets":
        return Buckets({name: one for name, one in self.columns.items() if name in wanted})

    def reduced(self, at: Ints, start: Ints, overlapping: bool = False) -> "Buckets":
        """One for each group of neighbours; ``at`` are the places where groups begin, ``start`` their new labels.

        With ``overlapping`` the ones of a group need not follow each other in time (points that came late, into a
        bucket that cannot be made anew); then a fall, a silence or a state between them does not count.
        """
        if not len(self) or len(at) == len(self):
            return Buckets({**self.columns, "start": start[: len(self)]})
        have = self.columns
        ends = np.append(at[1:], len(self)) - 1
        group = np.repeat(np.arange(len(at)), np.diff(np.append(at, len(self))))
        found: dict[str, Column] = {"start": start, "n": np.add.reduceat(have["n"], at)}
        if overlapping:
            order = np.lexsort((have["first_ts"], group))
            firsts = order[at]
            lasts = np.lexsort((have["last_ts"], group))[ends]
        else:
            firsts, lasts = at, ends
        for name, places in (("first", firsts), ("first_ts", firsts), ("last", lasts), ("last_ts", lasts)):
            if name in have:
                found[name] = have[name][places]
        if "on" in have:
            found["on"] = np.add.reduceat(self._on(group, overlapping), at)
        if "silence" in have:
            found["silence"], found["silence_ts"] = self._silence(at, group, overlapping)
        if "m" in have:
            self._reduce_numbers(found, at, group, overlapping)
        return Buckets(found)

    def _between(self, group: Ints) -> Ints:
        """The time from the end of the one before to the beginning of each, 0 for the first of a group."""
        between = np.zeros(len(self), np.int64)
        between[1:] = np.where(group[1:] == group[:-1], self["first_ts"][1:] - self["last_ts"][:-1], 0)
        return between

    def _on(self, group: Ints, overlapping: bool) -> Ints:
        on = self["on"].copy()
        if not overlapping:
            between = self._between(group)
            on[1:] += np.where(is_true(self["last"][:-1]), between[1:], 0)
        return on

    def _silence(self, at: Ints, group: Ints, overlapping: bool) -> tuple[Ints, Ints]:
        # The one before each and the one inside of it, in turn.
        lengths, begins = np.zeros((len(self), 2), np.int64), np.zeros((len(self), 2), np.int64)
        lengths[:, 1], begins[:, 1] = self["silence"], self["silence_ts"]
        if not overlapping:
            lengths[:, 0] = self._between(group)
            begins[1:, 0] = self["last_ts"][:-1]
        flat = lengths.ravel()
        places = _first_of(flat, np.maximum.reduceat(flat, at * 2), at * 2)
        return flat[places], begins.ravel()[places]

    def _reduce_numbers(self, found: dict[str, Column], at: Ints, group: Ints, overlapping: bool) -> None:
        have = self.columns
        found["m"] = np.add.reduceat(have["m"], at)
        rows = have["m"] > 0
        if bool(rows.all()):
            found |= self._reduce_all_numbers(at, overlapping)
            return
        names = [
            name for name in ("min", "min_ts", "max", "max_ts", "sum", "dropped", "begun", "ended") if name in have
        ]
        held = np.unique(group[rows])
        part = self.where(rows)
        values = part._reduce_all_numbers(np.searchsorted(group[rows], held), overlapping) if len(held) else {}
        for name in names:
            whole = np.zeros(len(at), values[name].dtype if values else np.int64)
            if values:
                whole[held] = values[name]
            found[name] = whole

    def _reduce_all_numbers(self, at: Ints, overlapping: bool) -> dict[str, Column]:
        have = self.columns
        found: dict[str, Column] = {}
        for name, best in (("min", np.minimum), ("max", np.maximum)):
            if name in have:
                plain = numbers(have[name])[0]
                places = _first_of(plain, best.reduceat(plain, at), at)
                found[name], found[f"{name}_ts"] = have[name][places], have[f"{name}_ts"][places]
        if "sum" in have:
            found["sum"] = _summed(have["sum"], at)
        if "dropped" in have:
            ends = np.append(at[1:], len(self)) - 1
            found["begun"], found["ended"] = have["begun"][at], have["ended"][ends]
            dropped = have["dropped"]
            if not overlapping and len(self) > 1:
                begun, ended = numbers(have["begun"])[0], numbers(have["ended"])[0]
                falls = np.concatenate(([0], falls_between(ended[:-1], begun[1:])))
                falls[at] = 0
                dropped = (dropped if dropped.dtype != object else numbers(dropped)[0]) + falls
            found["dropped"] = _summed(dropped, at)
        return found


def falls_between(before: Column, after: Column) -> Column:
    """By how much each number fell, 0 where it did not."""
    if before.dtype != np.float64 and len(before):
        most = max(-int(before.min()), int(before.max()), -int(after.min()), int(after.max()))
        if most >= _EXACT:
            before, after = before.astype(np.float64), after.astype(np.float64)
    falls: Column = np.maximum(before - after, 0)
    return falls


def is_true(values: Column) -> NDArray[np.bool_]:
    """Which values are the boolean ``true``, and not a number."""
    if values.dtype == np.bool_:
        return values
    if values.dtype != object:
        return np.zeros(len(values), np.bool_)
    return np.fromiter((one is True for one in values), np.bool_, len(values))


def _first_of(values: Column, best: Column, at: Ints) -> Ints:
    """The first place in each group that has the group's best value."""
    lengths = np.diff(np.append(at, len(values)))
    places = np.flatnonzero(values == np.repeat(best, lengths))
    return places[np.searchsorted(places, at)]


def of_points(ts: Ints, values: Column, wanted: frozenset[str] = EVERYTHING) -> Buckets:
    """A bucket for each point, oldest first; ``start`` is its time."""
    size = len(ts)
    plain, kept = numbers(values)
    ones = np.ones(size, np.int64)
    zeros = np.zeros(size, np.int64)
    found = {"start": ts, "n": ones, "first_ts": ts, "first": values, "last_ts": ts, "last": values}
    found |= {"m": ones if kept is None else kept.astype(np.int64), "min_ts": ts, "max_ts": ts}
    found |= {"min": values, "max": values, "begun": values, "ended": values, "sum": plain, "dropped": zeros}
    found |= {"on": zeros, "silence_ts": ts, "silence": zeros}
    if kept is not None:
        # Whatever is no number has no place among numbers.
        for name in ("min", "max", "begun", "ended"):
            found[name] = np.where(kept, values, 0)
    return Buckets({name: one for name, one in found.items() if name in wanted})


def on_grid(buckets: Buckets, grid: Ints) -> Buckets:
    """One for each interval of ``grid`` (beginnings, ascending, none of the buckets before the first) that has any."""
    if not len(buckets):
        return buckets
    begins = buckets["start"]
    low = int(grid.searchsorted(begins[0]))
    if np.array_equal(grid[low : low + len(begins)], begins):
        return buckets
    places = np.searchsorted(grid, begins, "right") - 1
    at = np.concatenate(([0], np.flatnonzero(np.diff(places)) + 1))
    return buckets.reduced(at, grid[places[at]])


def none(wanted: frozenset[str] = EVERYTHING) -> Buckets:
    return of_points(np.zeros(0, np.int64), np.zeros(0, np.int64), wanted)


def together(parts: Sequence[Buckets]) -> Buckets:
    """All of them, ordered by their beginning."""
    held = [one for one in parts if len(one)]
    if not held:
        return parts[0]
    if len(held) == 1:
        return held[0]
    found = Buckets({name: joined([one[name] for one in held]) for name in held[0].columns})
    start = found["start"]
    if bool((start[1:] >= start[:-1]).all()):
        return found
    return found.where(np.argsort(start, kind="stable"))


def within(start: Ints, spans: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which of these times are in one of the spans."""
    found = np.zeros(len(start), np.bool_)
    for t0, t1 in spans:
        found |= (start >= t0) & (start < t1)
    return found


def same_starts(buckets: Buckets) -> Buckets:
    """Those with the same beginning as one, whatever lies between their points."""
    start = buckets["start"]
    at = np.concatenate(([0], np.flatnonzero(np.diff(start)) + 1))
    return buckets.reduced(at, start[at], overlapping=True)


# Bytes

_SAME: Final = {"m": "n", "begun": "first", "ended": "last"}


def encode(buckets: Buckets) -> bytes:
    """A block: every column by itself, so that a question opens what it needs alone."""
    start = buckets["start"]
    left_out = set()
    pure = bool((buckets["m"] == buckets["n"]).all())
    if pure:
        left_out |= set(_SAME)
    elif not buckets["m"].any():
        left_out |= {"min_ts", "min", "max_ts", "max", "sum", "dropped", "begun", "ended"}
    if not buckets["on"].any():
        left_out.add("on")
    parts: list[bytes] = []
    head = bytearray([LAYOUT])
    for number, name in enumerate(COLUMNS):
        if name in left_out:
            continue
        values = buckets[name]
        if name == "start":
            data = put_number(int(start[0])) + put_ints(np.diff(start))
        elif name in _TIMES:
            data = put_ints(values - start)
        elif name in _WHOLE:
            data = put_ints(values)
        else:
            data = encode_values(values.tolist())
        head += bytes([number + 1]) + put_number(len(data))
        parts.append(data)
    return bytes(head) + b"\0" + b"".join(parts)


def decode(data: bytes, wanted: frozenset[str] = EVERYTHING) -> Buckets:
    """The columns ``wanted`` of a block. Raises :class:`Damaged`."""
    try:
        return _decoded(data, wanted)
    except NONSENSE as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None


def _decoded(data: bytes, wanted: frozenset[str]) -> Buckets:
    if data[0] != LAYOUT:
        raise Damaged(f"layout {data[0]}, which a newer version wrote")
    # By hand: this is done for each block of a hundred series.
    lengths: list[tuple[int, int]] = []
    place = 1
    while number := data[place]:
        length = shift = 0
        while True:
            place += 1
            byte = data[place]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        place += 1
        lengths.append((number - 1, length >> 1))
    held: dict[str, tuple[int, int]] = {}
    at = place + 1
    for number, length in lengths:
        # What a newer version added beside is nobody's question here.
        if number < len(COLUMNS):
            held[COLUMNS[number]] = (at, length)
        at += length
    if at > len(data):
        raise Damaged("it ends too early")
    if not {"start", "n"} <= held.keys():
        raise Damaged("a block without beginnings")

    def part(name: str) -> Source:
        begin, length = held[name]
        return Source(data[begin : begin + length])

    found: dict[str, Column] = {}

    def get(name: str) -> Column:
        if name not in found:
            found[name] = read(name)
        return found[name]

    def read(name: str) -> Column:
        if name not in held:
            return get(_SAME[name]) if name in _SAME and "m" not in held else np.zeros(size, np.int64)
        if name in _TIMES:
            return start + get_ints(part(name))
        if name in _WHOLE:
            return get_ints(part(name))
        begin, length = held[name]
        return column(decode_values(data[begin : begin + length])[1])

    of_start = part("start")
    start = found["start"] = np.cumsum(np.concatenate(([of_start.number()], get_ints(of_start))))
    size = len(start)
    columns = {"start": start, **{name: get(name) for name in wanted}}
    if any(len(one) != size for one in columns.values()):
        raise Damaged("two lengths of one block")
    return Buckets(columns)
