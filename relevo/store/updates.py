"""What became of each device in a roll-out: a row for each pair, followed in the transaction that holds its events."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from relevo.domain.events import UpdateEnded, UpdateOffered, UpdatePlanned, UpdateReported
from relevo.domain.rollouts import Progress, advance, opened
from relevo.store.db import metadata

UpdateEvent = UpdatePlanned | UpdateOffered | UpdateReported | UpdateEnded
UPDATE_EVENTS: Final = frozenset({UpdatePlanned, UpdateOffered, UpdateReported, UpdateEnded})

rollout_devices = Table(
    "rollout_devices",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("rollout", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("wave", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Index("rollout_devices_pair", "rollout", "device", unique=True),
    Index("rollout_devices_device", "device", "number"),
    sqlite_autoincrement=True,
)
_FIELDS: Final = Progress.__struct_fields__
_TOGETHER: Final = 300


def follow(core: Connection, events: Sequence[UpdateEvent]) -> None:
    """Write what ``events`` did; each row is written once however many steps it made."""
    rows = rollout_devices.c
    pairs = list({(event.rollout, event.device) for event in events if event.rollout})
    known: dict[tuple[str, str], Progress] = {}
    for start in range(0, len(pairs), _TOGETHER):
        wanted = tuple_(rows.rollout, rows.device).in_(pairs[start : start + _TOGETHER])
        known |= {(row.rollout, row.device): of_row(row) for row in core.execute(select(rollout_devices).where(wanted))}
    fresh: dict[tuple[str, str], Progress] = {}
    moved: dict[tuple[str, str], Progress] = {}
    for event in events:
        pair = (event.rollout, event.device)
        one = fresh.get(pair) or known.get(pair)
        if one is None:
            if isinstance(event, UpdatePlanned):
                fresh[pair] = opened(event)
        elif advance(one, event) and pair not in fresh:
            moved[pair] = one
    if fresh:
        core.execute(insert(rollout_devices), [msgspec.structs.asdict(one) for one in fresh.values()])
    for (rollout, device), one in moved.items():
        where = (rows.rollout == rollout) & (rows.device == device)
        core.execute(update(rollout_devices).where(where).values(**msgspec.structs.asdict(one)))


def remove(core: Connection, device: str) -> None:
    """The device is gone, and its part of every roll-out with it."""
    core.execute(delete(rollout_devices).where(rollout_devices.c.device == device))


def forget(core: Connection, rollout: str) -> None:
    """The roll-out is gone, and what became of its devices with it."""
    core.execute(delete(rollout_devices).where(rollout_devices.c.rollout == rollout))


def load(core: Connection, rollouts: Sequence[str]) -> list[Progress]:
    """Every device of these roll-outs."""
    found = core.execute(select(rollout_devices).where(rollout_devices.c.rollout.in_(rollouts)))
    return [of_row(row) for row in found]


def newest(core: Connection) -> dict[str, tuple[str, str]]:
    """Of each device the roll-out and release that it was last part of, left out or not."""
    rows = rollout_devices.c
    last = select(func.max(rows.number)).where(rows.state != "skipped").group_by(rows.device)
    found = core.execute(select(rows.device, rows.rollout, rows.release).where(rows.number.in_(last)))
    return {device: (rollout, release) for device, rollout, release in found}


def counts(core: Connection, rollouts: Sequence[str]) -> dict[str, dict[tuple[int, str], int]]:
    """Of each of these roll-outs how many devices are in each wave and state."""
    rows = rollout_devices.c
    of = (rows.rollout, rows.wave, rows.state)
    found: dict[str, dict[tuple[int, str], int]] = {one: {} for one in rollouts}
    for rollout, wave, state, n in core.execute(
        select(*of, func.count()).where(rows.rollout.in_(rollouts)).group_by(*of)
    ):
        found[rollout][wave, state] = int(n)
    return found


def page(
    core: Connection, rollout: str, limit: int, after: int = 0, states: Sequence[str] = (), wave: int = 0
) -> list[tuple[int, Progress]]:
    """The next devices of a roll-out, in its order, with their numbers."""
    rows = rollout_devices.c
    query = select(rollout_devices).where((rows.rollout == rollout) & (rows.number > after))
    if states:
        query = query.where(rows.state.in_(states))
    if wave:
        query = query.where(rows.wave == wave)
    return [(row.number, of_row(row)) for row in core.execute(query.order_by(rows.number).limit(limit))]


def of_device(core: Connection, device: str, limit: int) -> list[Progress]:
    """The newest roll-outs that a device was part of, newest first."""
    rows = rollout_devices.c
    query = select(rollout_devices).where(rows.device == device).order_by(rows.number.desc()).limit(limit)
    return [of_row(row) for row in core.execute(query)]


def of_row(row: Row[Any]) -> Progress:
    """The device of a row."""
    return Progress(**{name: getattr(row, name) for name in _FIELDS})
