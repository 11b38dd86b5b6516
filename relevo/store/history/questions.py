"""Answers to :mod:`asking`, in the process that opens history.

Each series is read as it was at one moment, and several one after the other, so that no transaction is long. The
journal's tail is decoded once for all of them.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from relevo.domain.events import TelemetryReceived
from relevo.domain.intervals import DAY, HOUR, Interval, parse_interval
from relevo.domain.quality import is_late, source_of
from relevo.errors import FieldError, Invalid
from relevo.store.history import chunks
from relevo.store.history.asking import (
    DAYS_MOST,
    GAP_TIMES,
    GAPS_MOST,
    ROWS_MOST,
    TOGETHER_MOST,
    AggregatesWanted,
    ChartWanted,
    CompletenessWanted,
    Named,
    PageWanted,
    Question,
)
from relevo.store.history.buckets import (
    Buckets,
    Column,
    falls_between,
    is_true,
    joined,
    needed,
    none,
    numbers,
    of_points,
    on_grid,
)
from relevo.store.history.grids import bounds, grid, zone_of
from relevo.store.history.layout import plain
from relevo.store.history.opened import Opened
from relevo.store.history.openers import open_points, opened_part
from relevo.store.history.packing import Ints
from relevo.store.history.past import Known, Past, known_of
from relevo.store.history.rollups import DAYS, HOURS
from relevo.store.history.series import read
from relevo.store.history.stale import Span
from relevo.store.history.tails import Tails
from relevo.store.many import LISTED, json_of

# Of so many points no chart is slow.
_FEW: Final = 20_000
_encode: Final = msgspec.json.Encoder(enc_hook=np.ndarray.tolist).encode
# So many series are looked at in one transaction, which takes a few milliseconds.
_AT_ONCE: Final = 20
remembered: Final = Opened()
_DEVICES: Final = (
    "SELECT devices.id, registered_seq, number, zone FROM devices LEFT JOIN sites ON sites.id = devices.site "  # noqa: S608
    f"WHERE devices.id IN {LISTED}"
)
_NO_TIMES: Final = np.zeros(0, np.int64)
_CHART: Final = needed(("min", "max", "first", "last", "silence"))
_POINTS: Final = needed(("min", "max", "first", "last"))
_SOURCES: Final = {HOURS: "hour", DAYS: "day"}


def answer(connection: sqlite3.Connection, tails: Tails, wanted: Question) -> tuple[bytes, bool]:
    """The body, and whether there is nothing at all of any series. Raises :class:`Invalid`, naming the parameter."""
    if isinstance(wanted, CompletenessWanted):
        return _encode(_completeness(connection, tails, wanted)), False
    found = _Moments(connection, tails, wanted.series)
    items: list[dict[str, Any] | None]
    if isinstance(wanted, ChartWanted):
        chart = wanted
        items = found.of(chart.series, chart.zone, partial(_chart, wanted=chart))
        if chart.alone:
            return _encode(items[0]), items[0] is None
        return _encode({"items": _named(chart.series, items)}), not any(items)
    asked = wanted
    interval = parse_interval(asked.interval)
    left = [TOGETHER_MOST if not asked.alone else ROWS_MOST]
    items = found.of(asked.series, asked.zone, partial(_aggregates, wanted=asked, interval=interval, left=left))
    if asked.alone:
        return _encode(items[0]), items[0] is None
    body = {"interval": asked.interval, "axes": _axes([one for one in items if one is not None])}
    return _encode(body | {"items": _named(asked.series, items)}), not any(items)


def page(
    connection: sqlite3.Connection, tails: Tails, wanted: PageWanted, quality: bool
) -> tuple[bytes, tuple[int, int] | None, bool]:
    """The points of a page as a JSON array, the position of the last one when more follow, and whether there are none.

    Everything of a page mostly comes from chunks: then no point is ever an object of its own.
    """
    found = _chunk_page(connection, tails, wanted)
    if found is None:
        span = (wanted.start, wanted.end, wanted.limit, wanted.after, wanted.since)
        of = read(connection, open_points, wanted.device, wanted.key, *span, tails.scan)
        kinds = [one.quality for one in of.points]
        ts, values = [one.ts for one in of.points], [one.value for one in of.points]
        position = of.points[-1][:2] if of.more else None
    else:
        ts, values, kinds, position = found
    if quality:
        sources = [source_of(kind) for kind in range(16)]
        told = [sources[kind] for kind in kinds], [is_late(kind) for kind in kinds]
        return _encode(list(zip(ts, values, *told, strict=True))), position, not ts
    return _encode(list(zip(ts, values, strict=True))), position, not ts


def _chunk_page(
    connection: sqlite3.Connection, tails: Tails, wanted: PageWanted
) -> tuple[list[int], list[Any], list[int], tuple[int, int] | None] | None:
    """Times, values, qualities and position; none when something of it may be elsewhere than in chunks."""
    start = wanted.start if wanted.after is None else max(wanted.start, wanted.after[0])
    connection.execute("BEGIN")
    try:
        row = connection.execute(
            "SELECT number, series.id FROM devices JOIN series ON device = number AND key = ? "
            "WHERE devices.id = ? AND registered_seq = ?",
            (wanted.key, wanted.device, wanted.since),
        ).fetchone()
        if row is None or chunks.erasures_of(connection, row[0]):
            return None
        mark = chunks.progress(connection).mark(row[0])
        tail = tails.scan(connection, wanted.device, mark, start, wanted.end)
        if any(wanted.key in event.values for _, event in tail):
            return None
        ts: list[int] = []
        values: list[Any] = []
        kinds: list[int] = []
        position: tuple[int, int] | None = None
        most = wanted.limit
        for of_times, data in connection.execute(
            "SELECT times.data, chunks.data FROM chunks JOIN times ON times.id = chunks.times "
            "WHERE series = ? AND t0 >= ? AND t0 < ? AND t1 >= ? ORDER BY t0, seq",
            (row[1], chunks.first_start(connection, row[1], start), wanted.end, start),
        ):
            part, times, held = opened_part(
                of_times, data, start, wanted.end, wanted.after, remembered.times_and_values
            )
            before = len(ts)
            ts += times.ts[part].tolist()
            if wanted.json == "quality":
                kinds += times.quality[part].tolist()
            values += plain(held[part])
            if before < most <= len(ts):
                position = (ts[most - 1], int(times.seq[part][most - 1 - before]))
            if len(ts) > most:
                break
    finally:
        connection.execute("ROLLBACK")
    if len(ts) <= most:
        position = None
    return ts[:most], values[:most], kinds[:most], position


def _named(series: Sequence[Named], items: Sequence[dict[str, Any] | None]) -> list[dict[str, Any]]:
    both = zip(series, items, strict=True)
    return [{"device": one.device, "key": one.key, **item} for one, item in both if item is not None]


def _axes(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The beginnings of intervals, once for all items of a zone. Values then stand for all of them, none where there
    are no points."""
    axes: list[dict[str, Any]] = []
    by_zone: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_zone.setdefault(item.pop("zone"), []).append(item)
    for zone, held in by_zone.items():
        begins: list[Ints] = [item["from"] for item in held]
        whole = begins[0]
        if not all(np.array_equal(one, whole) for one in begins[1:]):
            whole = np.unique(np.concatenate(begins))
        for item, begin in zip(held, begins, strict=True):
            del item["from"], item["interval"]
            item["axis"] = len(axes)
            if len(begin) < len(whole):
                places = np.searchsorted(whole, begin)
                item["values"] = {name: _spread(one, places, len(whole)) for name, one in item["values"].items()}
        axes.append({"zone": zone, "from": whole})
    return axes


class _Moments:
    """Series a few at a time, each as it was at one moment."""

    def __init__(self, connection: sqlite3.Connection, tails: Tails, series: Sequence[Named]) -> None:
        self._connection = connection
        self._tails = tails
        devices = {one.device for one in series}
        self._read: dict[str, list[tuple[int, TelemetryReceived]]] | None = None
        if len(devices) > 1:
            # The same rows hold readings of many.
            connection.execute("BEGIN")
            try:
                self._read = tails.of(devices, chunks.progress(connection).low)
            finally:
                connection.execute("ROLLBACK")

    def of(
        self, series: Sequence[Named], zone: str, ask: Callable[[Past, Named], dict[str, Any] | None]
    ) -> list[dict[str, Any] | None]:
        """What ``ask`` finds in each; none where there is no such series."""
        connection = self._connection
        found: list[dict[str, Any] | None] = []
        for at in range(0, len(series), _AT_ONCE):
            part = series[at : at + _AT_ONCE]
            connection.execute("BEGIN")
            try:
                found += [ask(past, one) if past is not None else None for past, one in self._pasts(part, zone)]
            finally:
                connection.execute("ROLLBACK")
        return found

    def _pasts(self, series: Sequence[Named], zone: str) -> Iterator[tuple[Past | None, Named]]:
        connection = self._connection
        progress = chunks.progress(connection)
        devices = _devices(connection, series)
        of = [(devices[one.device, one.since][0], one.key) for one in series if (one.device, one.since) in devices]
        known = known_of(connection, of)
        hidden = chunks.erasures_of_many(connection, [number for number, _ in devices.values()])
        for one in series:
            if (one.device, one.since) not in devices:
                yield None, one
                continue
            number, at_site = devices[one.device, one.since]
            if self._read is None:
                tail = self._tails.of([one.device], progress.mark(number))[one.device]
            else:
                tail = self._read[one.device]
            past = Past(
                connection,
                number,
                one.key,
                ZoneInfo(at_site or zone),
                progress,
                hidden.get(number, ()),
                tail,
                one.since,
                known.get((number, one.key), Known()),
                remembered,
            )
            yield (past if past.first is not None else None), one


def _devices(connection: sqlite3.Connection, series: Sequence[Named]) -> dict[tuple[str, int], tuple[int, str | None]]:
    """Number and, where its site has one, zone of devices, by their names and the events that registered them."""
    rows = connection.execute(_DEVICES, (json_of(list({one.device for one in series})),))
    return {(name, since): (number, zone) for name, since, number, zone in rows}


# Charts


def _chart(past: Past, one: Named, wanted: ChartWanted) -> dict[str, Any] | None:
    every_s = one.every_s
    first, last = past.first, past.last
    if first is None or last is None:
        return None
    start, end = max(wanted.start, first), min(wanted.end, last + 1)
    if start >= end:
        return {"points": [], "source": "raw", "gaps": [], "next": None}
    most = wanted.points
    size = past.count(start, end)
    hours = (end - start) // HOUR
    raw_is_there = start >= past.raw_from
    if raw_is_there and (size <= max(most, _FEW) or hours < most // 4):
        return _raw_chart(past, start, end, most, every_s)
    step = DAYS if hours // 24 >= most // 2 else HOURS
    rows = past.buckets(step, start, end, _CHART)
    if not len(rows):
        return {"points": [], "source": _SOURCES[step], "gaps": [], "next": None}
    between = np.diff(rows["last_ts"])
    inside = rows["silence"] > 0
    begins = np.concatenate((rows["last_ts"][:-1], rows["silence_ts"][inside]))
    ends = np.concatenate((rows["first_ts"][1:], (rows["silence_ts"] + rows["silence"])[inside]))
    counts = rows["n"] - 1
    usual = (rows["last_ts"] - rows["first_ts"])[counts > 0] / counts[counts > 0]
    every = every_s * 1_000 or _median(usual if len(usual) else between)
    # With few rows each of them gives its first and last point, too.
    ts, values = _extremes(rows, start, end, most, len(rows) < most // 2)
    return {"points": _pairs(ts, values), "source": _SOURCES[step], "gaps": _gaps(begins, ends, every), "next": None}


def _raw_chart(past: Past, start: int, end: int, most: int, every_s: float) -> dict[str, Any]:
    ts, values = past.points(start, end)
    between = np.diff(ts)
    every = every_s * 1_000 or _median(between)
    gaps = _gaps(ts[:-1], ts[1:], every)
    if len(ts) > most:
        ts, values = _extremes(of_points(ts, values, _CHART), start, end, most, False)
    return {"points": _pairs(ts, values), "source": "raw", "gaps": gaps, "next": None}


def _median(of: Column) -> float:
    """0 of nothing. NumPy's own looks for so much beside that it takes longer than a chart."""
    if not len(of):
        return 0.0
    ordered, middle = np.sort(of), len(of) // 2
    return float(ordered[middle] if len(of) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def _pairs(ts: Ints, values: Column) -> list[tuple[int, Any]]:
    return list(zip(ts.tolist(), values.tolist(), strict=True))


def _extremes(rows: Buckets, start: int, end: int, most: int, ends_too: bool) -> tuple[Ints, Column]:
    """The lowest and highest points of equal parts of a span, and the first and last of all.

    What has no numbers gives the first and last of each part.
    """
    count = max(most // 4 if ends_too else (most - 2) // 2, 1)
    width = -(-(end - start) // count)
    rows = rows.only(_POINTS)
    parts = on_grid(rows, start + np.arange(count + 1, dtype=np.int64) * width) if len(rows) > count else rows
    if int(parts["start"][0]) < start:
        # A bucket of a whole hour, of which a part is asked for.
        parts = rows
    plain = parts["m"] == 0
    groups = [("min", ~plain), ("max", ~plain)]
    groups += [(name, np.ones(len(parts), np.bool_) if ends_too else plain) for name in ("first", "last")]
    first, last = (rows.where(slice(at, at + 1 or None)) for at in (0, len(rows) - 1))
    times = [parts[f"{name}_ts"][kept] for name, kept in groups] + [first["first_ts"], last["last_ts"]]
    held = [parts[name][kept] for name, kept in groups] + [first["first"], last["last"]]
    ts, values = np.concatenate(times), joined(held)
    order = np.argsort(ts, kind="stable")
    ts = ts[order]
    kept = np.append(True, ts[1:] != ts[:-1])
    return ts[kept], values[order[kept]]


def _gaps(begins: Ints, ends: Ints, every: float) -> list[Span]:
    """Silences that are too long, by time; of too many the longest."""
    if every <= 0:
        return []
    long = ends - begins > GAP_TIMES * every
    begins, ends = begins[long], ends[long]
    if len(begins) > GAPS_MOST:
        longest = np.argsort(ends - begins)[-GAPS_MOST:]
        begins, ends = begins[longest], ends[longest]
    return sorted(zip(begins.tolist(), ends.tolist(), strict=True))


# Aggregates


def _aggregates(
    past: Past, _: Named, wanted: AggregatesWanted, interval: Interval, left: list[int]
) -> dict[str, Any] | None:
    first, last = past.first, past.last
    if first is None or last is None:
        return None
    start, end = max(wanted.start, first), min(wanted.end, last + 1)
    raw = bool(interval.minutes % 60)
    if raw:
        start = max(start, past.raw_from)
    source = "raw" if raw else _SOURCES[HOURS if interval.minutes else DAYS]
    body = {"interval": wanted.interval, "zone": past.zone.key, "source": source}
    if start >= end:
        return body | {"from": _NO_TIMES, "values": {name: [] for name in wanted.names}}
    if (end - start) // interval.least_ms > ROWS_MOST:
        message = f"interval {wanted.interval} gives more than {ROWS_MOST} rows in this span: take a longer one"
        raise Invalid("interval_invalid", message, [FieldError("interval", message, "interval_invalid")])
    edges = bounds(interval, past.zone, start, end)
    columns = needed(wanted.names)
    if raw:
        pieces = of_points(*past.points(start, end), columns)
    else:
        pieces = past.buckets(HOURS if interval.minutes else DAYS, start, end, columns)
    if len(pieces) and int(pieces["start"][0]) < int(edges[0]):
        # Where only days are left, one may have begun before.
        edges = np.concatenate((pieces["start"][:1], edges[1:]))
    rows = on_grid(pieces, edges)
    left[0] -= len(rows)
    if left[0] < 0:
        message = f"interval {wanted.interval} gives more than {TOGETHER_MOST} rows together: take a longer one"
        raise Invalid("interval_invalid", message, [FieldError("interval", message, "interval_invalid")])
    found: dict[str, Column | list[Any]] = {
        name: _column(past, name, rows, start) for name in wanted.names if name != "on"
    }
    begins = rows["start"]
    if "on" in wanted.names:
        begins, on, places = _on(past, rows, edges, start, end)
        found = {name: _spread(one, places, len(begins)) for name, one in found.items()}
        found["on"] = on
    return body | {"from": begins, "values": found}


def _column(past: Past, name: str, rows: Buckets, start: int) -> Column | list[Any]:
    if not len(rows):
        return []
    if name in ("count", "first", "last"):
        return rows["n" if name == "count" else name]
    if name == "increase":
        found = _increase(past, rows, start)
    elif name == "mean":
        found = numbers(rows["sum"])[0] / np.maximum(rows["m"], 1)
    else:
        found = rows[name]
    if bool((rows["m"] > 0).all()):
        return found
    return [one if held else None for one, held in zip(found.tolist(), rows["m"].tolist(), strict=True)]


def _increase(past: Past, rows: Buckets, start: int) -> Column:
    """What it rose by from each point to the next, where the later one is: so intervals add up."""
    whole = rows
    kept = rows["m"] > 0
    if not bool(kept.all()):
        rows = rows.where(kept)
    if not len(rows):
        return np.zeros(len(whole), np.float64)
    begun, ended = (numbers(rows[name])[0] for name in ("begun", "ended"))
    inside = ended - begun + numbers(rows["dropped"])[0]
    before = past.before(start, needed(("increase",)))
    earlier = numbers(before["ended"])[0] if before is not None and int(before["m"][0]) else begun[:1]
    rises = falls_between(begun, np.concatenate((earlier, ended[:-1])))
    inside = _told(inside + rises, ended)
    if rows is whole:
        return inside
    found = np.zeros(len(whole), inside.dtype)
    found[kept] = inside
    return found


def _told(differences: Column, of: Column) -> Column:
    """Differences of floats, without the digits that floats of that size cannot tell."""
    if differences.dtype != np.float64:
        return differences
    largest = float(np.abs(of).max(initial=1.0))
    rounded: Column = np.round(differences, max(14 - int(np.log10(largest)), 0))
    return rounded


def _on(past: Past, rows: Buckets, edges: Ints, start: int, end: int) -> tuple[Ints, list[int], Ints]:
    """Beginnings of intervals with points or time in which it was on, that time, and where the rows are among them."""
    columns = needed(("on",))
    before, after = past.before(start, columns), past.after(end, columns)
    ends = np.concatenate(([] if before is None else before["last_ts"], rows["last_ts"] if len(rows) else [])).astype(
        np.int64
    )
    begins = np.concatenate((rows["first_ts"] if len(rows) else [], [] if after is None else after["first_ts"])).astype(
        np.int64
    )
    states = [*([] if before is None else is_true(before["last"]).tolist()), *is_true(rows["last"]).tolist()]
    if before is None:
        begins = begins[1:]
    size = min(len(begins), len(ends))
    # From the last point of each row until the next point, while it is on.
    lit = np.array(states[:size], np.bool_)
    t0, t1 = np.maximum(ends[:size][lit], start), np.minimum(begins[:size][lit], end)
    total = np.zeros(len(edges) - 1, np.int64)
    if len(t0):
        ends_of = np.clip(edges, start, end)
        done = np.concatenate(([0], np.cumsum(t1 - t0)))
        at = np.searchsorted(t0, ends_of, "right") - 1
        reached = np.where(at >= 0, done[np.maximum(at, 0)] + np.clip(ends_of - t0[at], 0, (t1 - t0)[at]), 0)
        total = np.diff(reached)
    places = np.searchsorted(edges, rows["start"], "right") - 1
    total[places] += rows["on"]
    held = np.zeros(len(total), np.bool_)
    held[places] = True
    kept = np.flatnonzero(held | (total > 0))
    return edges[kept], total[kept].tolist(), np.searchsorted(kept, places)


def _spread(values: Column | list[Any], places: Ints, size: int) -> list[Any]:
    found: list[Any] = [None] * size
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    for place, value in zip(places.tolist(), listed, strict=True):
        found[place] = value
    return found


# Completeness


def _completeness(connection: sqlite3.Connection, tails: Tails, wanted: CompletenessWanted) -> dict[str, Any]:
    of = wanted.of
    number = chunks.number_of(connection, of.device, of.since) or 0
    keys = [of.key] if of.key else _keys(connection, tails, number, of)
    moments = _Moments(connection, tails, [of])
    zone = zone_of(connection, number, wanted.zone)
    start, end = wanted.start, wanted.end
    body: dict[str, Any] = {"zone": zone.key, "expected_every_s": of.every_s or None, "days": []}
    if start >= end:
        return body
    if (end - start) // DAY > DAYS_MOST:
        message = f"from and to are more than {DAYS_MOST} days apart"
        raise Invalid("too_many_days", message, [FieldError("from", message, "too_many_days")])
    edges = grid(zone, DAYS, start, end)
    received = np.zeros(len(edges) - 1, np.int64)
    silences: list[Span] | None = None
    usual: list[float] = []
    for key in keys:

        def ask(past: Past, _: Named) -> dict[str, Any]:
            return {"rows": past.buckets(HOURS, start, end, needed(("count", "silence")))}

        found = moments.of([Named(of.device, of.since, key)], wanted.zone, ask)[0]
        rows: Buckets = found["rows"] if found is not None else none(needed(("count", "silence")))
        if not len(rows):
            continue
        of_days = on_grid(rows.only(frozenset({"start", "n"})), edges)
        at = np.searchsorted(edges, of_days["start"], "right") - 1
        # Keys of a device mostly come together: the one that came most often counts.
        received[at] = np.maximum(received[at], of_days["n"])
        counts = rows["n"] - 1
        if counts.any():
            held = counts > 0
            usual.append(_median((rows["last_ts"] - rows["first_ts"])[held] / counts[held]))
        begins = np.concatenate(([start], rows["last_ts"], rows["silence_ts"]))
        ends = np.concatenate((rows["first_ts"], [end], rows["silence_ts"] + rows["silence"]))
        spans = sorted((t0, t1) for t0, t1 in zip(begins.tolist(), ends.tolist(), strict=True) if t0 < t1)
        # The device was silent only while nothing of any key came.
        silences = spans if silences is None else _both(silences, spans)
    every = of.every_s * 1_000 or (min(usual) if usual else 0)
    body["expected_every_s"] = round(every / 1_000, 3) or None
    gaps = [
        one
        for one in (silences if silences is not None else [(start, end)])
        if every and one[1] - one[0] > GAP_TIMES * every
    ]
    for day, (t0, t1) in enumerate(pairwise(edges.tolist())):
        t0, t1 = max(t0, start), min(t1, end)
        expected = round((t1 - t0) / every) if every else None
        share = min(round(int(received[day]) / expected, 4), 1.0) if expected else None
        within = [(max(a, t0), min(b, t1)) for a, b in gaps if a < t1 and b > t0]
        told = {"from": t0, "to": t1, "expected": expected, "received": int(received[day]), "share": share}
        body["days"].append(told | {"gaps": within[:GAPS_MOST]})
    return body


def _both(one: list[Span], other: list[Span]) -> list[Span]:
    found: list[Span] = []
    at = 0
    for t0, t1 in one:
        while at < len(other) and other[at][1] <= t0:
            at += 1
        place = at
        while place < len(other) and other[place][0] < t1:
            found.append((max(t0, other[place][0]), min(t1, other[place][1])))
            place += 1
    return found


def _keys(connection: sqlite3.Connection, tails: Tails, number: int, of: Named) -> list[str]:
    connection.execute("BEGIN")
    try:
        found = set(chunks.series_of(connection, number))
        mark = chunks.progress(connection).mark(number)
        for seq, event in tails.of([of.device], mark)[of.device]:
            if seq >= of.since:
                found |= set(event.values)
    finally:
        connection.execute("ROLLBACK")
    return sorted(found)
