"""What of a series goes because of its age or for want of room: the work of the compactor's process.

A step takes points out of chunks up to the beginning of an hour that is in roll-ups already, and moves ``raw_from``
there in the same transaction, so each point counts in the chunks or in its hour and never in both.
"""

import sqlite3
from typing import Final

from relevo.domain.keeping import Bounds, Limits, Policy
from relevo.store.history import chunks, rollups
from relevo.store.history.buckets import decode, encode
from relevo.store.history.grids import floor, zone_of
from relevo.store.history.rolling import Series, drop_raw
from relevo.store.history.rollups import DAYS, HOURS, NewBlock, RollStep, RollUnit
from relevo.store.history.stale import mark_of, stale_of

_LOOKED_AT: Final = 500
# Chunks of one series in one step.
_CHUNKS_MOST: Final = 50
_BLOCKS_MOST: Final = 50
_DAY_AT_MOST: Final = 50 * 3_600_000


def next_step(
    connection: sqlite3.Connection, zone: str, after: int, rows: int, limits: Limits
) -> tuple[RollStep | None, int]:
    """A step of about ``rows`` rows for series with numbers behind ``after``, and up to which one it goes; none when
    nothing has to go. ``zone`` is that of devices without a site."""
    found = chunks.progress(connection)
    policy = Policy(limits.default, limits.keepings)
    units: list[RollUnit] = []
    held = 0
    while page := connection.execute(
        "SELECT series.id, device, key, type FROM series JOIN devices ON number = device WHERE series.id > ? "
        "ORDER BY series.id LIMIT ?",
        (after, _LOOKED_AT),
    ).fetchall():
        for number, device, key, type_ in page:
            unit = _unit(connection, Series(number, device, key), zone, limits.bounds(policy, type_, key))
            if unit is not None:
                units.append(unit)
                held += unit.rows()
                if held >= rows:
                    # There may be more of this one.
                    return RollStep(found, units), number - 1
            after = number
    return (RollStep(found, units) if units else None), after


def _unit(connection: sqlite3.Connection, of: Series, zone: str, before: Bounds) -> RollUnit | None:
    if before.raw and (unit := drop_raw(connection, of, zone, before.raw, _CHUNKS_MOST)) is not None:
        return unit
    for step, bound in ((HOURS, before.hours), (DAYS, before.days)):
        if bound and (unit := _blocks(connection, of, step, zone, bound)) is not None:
            return unit
    return None


def _blocks(connection: sqlite3.Connection, of: Series, step: int, zone: str, before: int) -> RollUnit | None:
    mark = mark_of(connection, of.number)
    if step == HOURS:
        # Hours are what days are made of, and what points are in that are gone.
        days = connection.execute(
            "SELECT max(t1) FROM rollups WHERE series = ? AND step = ?", (of.number, DAYS)
        ).fetchone()[0]
        # A day is either made of hours, all of which are there, or nothing of it is in chunks.
        whole = mark.raw_from - _DAY_AT_MOST
        before = min([before, whole, days or 0, *(t0 for _, t0, _ in stale_of(connection, of.number)[:1])])
    else:
        before = min(before, mark.hours_from)
    old = rollups.blocks_of(connection, of.number, step, 0, before)
    # What is left of a block that reaches over the bound.
    left: list[NewBlock] = []
    if len(old) <= _BLOCKS_MOST and old and (last := old[-1]).t1 > before:
        # Whole days, so that a block is not written anew every hour.
        before = floor(zone_of(connection, of.device, zone), DAYS, before)
        if before <= last.t0:
            old = old[:-1]
        else:
            held = decode(rollups.data_of(connection, [last])[0])
            rest = held.where(held["start"] >= before)
            if len(rest):
                left = [NewBlock(step, int(rest["start"][0]), last.t1, len(rest), last.zone, encode(rest))]
    old = old[:_BLOCKS_MOST]
    if not old:
        return None
    end = min(old[-1].t1, before) if left else old[-1].t1
    moved = mark._replace(hours_from=end) if step == HOURS else mark._replace(days_from=end)
    return RollUnit(of.number, mark, moved, left, [one.id for one in old])
