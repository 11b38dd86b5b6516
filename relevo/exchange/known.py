"""Which readings are stored already: looked up before anything is imported, so that importing again adds nothing."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from relevo.store import journal
from relevo.store.history import chunks
from relevo.store.history.series import Opener

_pack: Final = msgspec.msgpack.Encoder().encode

# How often each value stands at a time, by its bytes: 1, 1.0 and true are three values.
Stored = dict[tuple[str, int], dict[bytes, int]]


def stored_at(connection: sqlite3.Connection, opener: Opener, device: str, wanted: dict[str, Sequence[int]]) -> Stored:
    """What is stored of ``device`` at the times (milliseconds UTC, rising) that are ``wanted`` of each key.

    What is erased and not taken out yet is not stored. Raises :class:`relevo.errors.Damaged`.
    """
    found: Stored = {}
    connection.execute("BEGIN")
    try:
        row = connection.execute("SELECT number, registered_seq FROM devices WHERE id = ?", (device,)).fetchone()
        if row is None:
            return found
        number, since = row
        hidden = chunks.erasures_of(connection, number)
        series = chunks.series_of(connection, number)
        for key, times in wanted.items():
            if key in series:
                for ts, value in _of_chunks(connection, opener, series[key], times):
                    if not any(one.concerns(key) and one.covers(ts) for one in hidden):
                        _add(found, key, ts, value)
        start = min(times[0] for times in wanted.values())
        end = max(times[-1] for times in wanted.values()) + 1
        mark = chunks.progress(connection).mark(number)
        sought = {key: frozenset(times) for key, times in wanted.items()}
        for seq, event in journal.tail(connection, device, mark, start, end):
            if seq < since:
                continue
            for key, value in event.values.items():
                if event.ts in sought.get(key, ()) and not any(
                    one.concerns(key) and one.hides(event.ts, seq) for one in hidden
                ):
                    _add(found, key, event.ts, value)
    finally:
        connection.execute("ROLLBACK")
    return found


def is_stored(stored: Stored, key: str, ts: int, value: Any) -> bool:
    """Whether a value is among them; each that is stored answers for one."""
    values = stored.get((key, ts))
    packed = _pack(value)
    if values is None or not values.get(packed):
        return False
    values[packed] -= 1
    return True


def _add(found: Stored, key: str, ts: int, value: Any) -> None:
    values = found.setdefault((key, ts), {})
    packed = _pack(value)
    values[packed] = values.get(packed, 0) + 1


def _of_chunks(
    connection: sqlite3.Connection, opener: Opener, series: int, times: Sequence[int]
) -> Iterable[tuple[int, Any]]:
    """Points at exactly these times; chunks that can have none of them stay closed."""
    first = chunks.first_start(connection, series, times[0])
    heads = connection.execute(
        "SELECT id, t0, t1 FROM chunks WHERE series = ? AND t0 >= ? AND t0 <= ? ORDER BY t0, seq",
        (series, first, times[-1]),
    ).fetchall()
    for number, t0, t1 in heads:
        begin, end = bisect_left(times, t0), bisect_left(times, t1 + 1)
        if begin == end:
            continue
        wanted = frozenset(times[begin:end])
        data = connection.execute(
            "SELECT times.data, chunks.data FROM chunks JOIN times ON times.id = chunks.times WHERE chunks.id = ?",
            (number,),
        ).fetchone()
        for ts, _, value, _ in opener(data[0], data[1], times[begin], times[end - 1] + 1, None) if data else ():
            if ts in wanted:
                yield ts, value
