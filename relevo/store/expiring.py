"""What of a series goes because of its age or for want of room: the work of the compactor's process.

A step takes points out of chunks up to the beginning of an hour that is in roll-ups already, and moves ``raw_from``
there in the same transaction, so each point counts in the chunks or in its hour and never in both.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from relevo.domain.keeping import Bounds, Limits, Policy
from relevo.store import chunks, rollups
from relevo.store.buckets import decode, encode
from relevo.store.grids import floor, zone_of
from relevo.store.rolling import Series, trim
from relevo.store.rollups import DAYS, HOURS, NewBlock, RollStep, RollUnit
from relevo.store.stale import mark_of, stale_of

_LOOKED_AT: Final = 500
# Chunks of one series in one step.
_CHUNKS_MOST: Final = 50
_BYTES_MOST: Final = 512 * 1024
_BLOCKS_MOST: Final = 50


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
    if before.raw and (unit := _raw(connection, of, zone, before.raw)) is not None:
        return unit
    for step, bound in ((HOURS, before.hours), (DAYS, before.days)):
        if bound and (unit := _blocks(connection, of, step, zone, bound)) is not None:
            return unit
    return None


def _raw(connection: sqlite3.Connection, of: Series, zone: str, before: int) -> RollUnit | None:
    heads: Sequence[tuple[int, int]] = connection.execute(
        "SELECT t0, length(data) FROM chunks WHERE series = ? AND t0 < ? ORDER BY t0 LIMIT ?",
        (of.number, before, _CHUNKS_MOST + 1),
    ).fetchall()
    mark = mark_of(connection, of.number)
    # What came late for a time that is in roll-ups alone is added to them first.
    if not heads or heads[0][0] < mark.raw_from or chunks.erasures_of(connection, of.device):
        return None
    size = 0
    for at, (t0, length) in enumerate(heads):
        if at == _CHUNKS_MOST or (at and size > _BYTES_MOST):
            before = min(before, t0)
            break
        size += length
    stale = stale_of(connection, of.number)
    before = min([before, mark.rolled, *(t0 for _, t0, _ in stale[:1])])
    before = floor(zone_of(connection, of.device, zone), HOURS, before)
    if before <= max(heads[0][0], mark.raw_from):
        return None
    trimmed = trim(connection, of, before)
    return RollUnit(of.number, mark, mark._replace(raw_from=before), [], [], [], [], trimmed)


def _blocks(connection: sqlite3.Connection, of: Series, step: int, zone: str, before: int) -> RollUnit | None:
    mark = mark_of(connection, of.number)
    if step == HOURS:
        # Hours are what days are made of, and what points are in that are gone.
        days = connection.execute(
            "SELECT max(t1) FROM rollups WHERE series = ? AND step = ?", (of.number, DAYS)
        ).fetchone()[0]
        before = min([before, mark.raw_from, days or 0, *(t0 for _, t0, _ in stale_of(connection, of.number)[:1])])
    else:
        before = min(before, mark.hours_from)
    # Whole days, so that a block is not written anew every hour.
    before = floor(zone_of(connection, of.device, zone), DAYS, before) if before > 0 else 0
    old = rollups.blocks_of(connection, of.number, step, 0, before)
    if not old:
        return None
    # What is left of a block that reaches over the bound.
    left: list[NewBlock] = []
    if len(old) <= _BLOCKS_MOST and (last := old[-1]).t1 > before:
        held = decode(rollups.data_of(connection, [last])[0])
        rest = held.where(held["start"] >= before)
        if len(rest):
            left = [NewBlock(step, int(rest["start"][0]), last.t1, len(rest), last.zone, encode(rest))]
        end = before
    else:
        old = old[:_BLOCKS_MOST]
        end = min(old[-1].t1, before)
    moved = mark._replace(hours_from=end) if step == HOURS else mark._replace(days_from=end)
    return RollUnit(of.number, mark, moved, left, [one.id for one in old])
