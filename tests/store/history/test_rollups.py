"""Hours and days are those of a plain list, whatever was compacted, rolled up, corrected or lost on the way."""

import sqlite3
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from relevo.domain.intervals import HOUR, boundaries, parse_interval
from relevo.store.history import chunks, rolling, rollups
from relevo.store.history.buckets import EVERYTHING, Buckets, on_grid
from relevo.store.history.chunks import Stale
from relevo.store.history.grids import zone_of
from relevo.store.history.past import Past
from relevo.store.history.rollups import DAYS, HOURS, RollStep
from relevo.store.journal import tail
from tests.store.history.test_chunks import DEVICES, KEYS, OFFSETS, Crash, Killed, Memory
from tests.store.samples import NOW

MINUTE = 60_000
ZONES = ("UTC", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe")
# Every third of a site, one of them on each side of a change of clocks somewhere.
BEGIN = 1_775_300_000_000


def reference(points: list[tuple[int, int, Any]]) -> dict[str, Any]:
    """What a bucket of these says, the slow way."""
    ordered = sorted(points, key=lambda one: one[:2])
    found: dict[str, Any] = {"n": len(ordered), "first": ordered[0][::2], "last": ordered[-1][::2]}
    numbers = [(ts, value) for ts, _, value in ordered if isinstance(value, int | float)]
    found["m"] = len(numbers)
    if numbers:
        found["min"] = min(numbers, key=lambda one: one[1])
        found["max"] = max(numbers, key=lambda one: one[1])
        found["sum"] = sum(value for _, value in numbers)
        rises = [max(after - before, 0) for (_, before), (_, after) in pairwise(numbers)]
        found["increase"] = sum(rises)
    pairs = list(pairwise(ordered))
    found["on"] = sum(after[0] - before[0] for before, after in pairs if before[2] is True)
    found["silence"] = max([after[0] - before[0] for before, after in pairs], default=0)
    return found


def shown(buckets: Buckets, at: int) -> dict[str, Any]:
    one = {name: values.tolist()[at] for name, values in buckets.columns.items()}
    found = {
        "n": one["n"],
        "first": (one["first_ts"], one["first"]),
        "last": (one["last_ts"], one["last"]),
        "m": one["m"],
    }
    if one["m"]:
        found |= {"min": (one["min_ts"], one["min"]), "max": (one["max_ts"], one["max"]), "sum": one["sum"]}
        found["increase"] = one["ended"] - one["begun"] + one["dropped"]
    return found | {"on": one["on"], "silence": one["silence"]}


def exactly(one: dict[str, Any]) -> str:
    # Sums of floats differ by the order of adding.
    rounded = {name: round(float(one[name]), 6) + 0.0 for name in ("sum", "increase") if name in one}
    return repr({**one, **rounded})


class RolledUp(Memory):
    @staticmethod
    def at(offset: int) -> int:
        return BEGIN + offset // 7 * 9 * HOUR + offset % 7 * 17 * MINUTE

    def __init__(self) -> None:
        super().__init__()
        self.zone = "UTC"
        self.rolls: RollStep | None = None

    def open(self) -> None:
        super().open()
        self.rolls = None

    @rule(zone=st.sampled_from(ZONES))
    def move_the_site(self, zone: str) -> None:
        self.zone = zone

    @rule(zone=st.sampled_from(ZONES), device=st.sampled_from(DEVICES))
    def put_the_device_at_a_site(self, zone: str, device: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO sites(id, zone) VALUES (?,?)", (zone, zone))
            connection.execute("UPDATE devices SET site = ? WHERE id = ?", (zone, device))

        self.writer.maintain(work)

    @rule(full=st.integers(2, 5), after=st.integers(0, 4), rows=st.integers(1, 20))
    def make_a_roll_step(self, full: int, after: int, rows: int) -> None:
        """Written later: something else may come between."""
        self.rolls = rolling.next_step(self.reader, self.zone, after, rows, True, full)[0]

    @rule(at=st.integers(-1, 14))
    def write_the_roll_step(self, at: int) -> None:
        step, self.rolls = self.rolls, None
        if step is None:
            return
        try:
            self.writer.maintain(lambda connection: self.commit(connection, step, at))
        except (Stale, Crash):
            return

    def commit(self, connection: sqlite3.Connection, step: RollStep, at: int) -> None:
        rollups.commit(connection if at < 0 else Killed(connection, at), step)  # type: ignore[arg-type]

    @rule(full=st.integers(2, 5))
    def roll_everything(self, full: int) -> None:
        steps = 0
        after = 0
        while True:
            step, after = rolling.next_step(self.reader, self.zone, after, 5, True, full)
            if step is None:
                break
            self.writer.maintain(lambda connection, step=step: rollups.commit(connection, step))
            steps += 1
            assert steps < 1_000

    def past(self, device: str, key: str) -> Past:
        number = self.reader.execute("SELECT number FROM devices WHERE id = ?", (device,)).fetchone()[0]
        hidden = chunks.erasures_of(self.reader, number)
        since = self.since[device]
        return Past(
            self.reader,
            number,
            key,
            zone_of(self.reader, number, self.zone),
            chunks.progress(self.reader),
            hidden,
            list(tail(self.reader, device, 0, 0, NOW * 2)),
            since,
        )

    def check(self, device: str, key: str, step: int, start: int, end: int, bounds: list[int]) -> None:
        past = self.past(device, key)
        found = on_grid(past.buckets(step, start, end, EVERYTHING), np.array(bounds))
        points = [one for one in self.model[device][key] if start <= one[0] < end]
        wanted = {}
        for begin, after in pairwise(bounds):
            inside = [one for one in points if begin <= one[0] < after]
            if inside:
                wanted[int(begin)] = reference(inside)
        assert {int(one): exactly(shown(found, at)) for at, one in enumerate(found["start"])} == {
            begin: exactly(one) for begin, one in wanted.items()
        }

    @rule(
        device=st.sampled_from(DEVICES),
        key=st.sampled_from(KEYS),
        begin=OFFSETS,
        size=st.integers(1, 30),
        minutes=st.integers(0, 90),
        interval=st.sampled_from(["1h", "3h", "1d", "1w", "1mo"]),
    )
    def ask(self, device: str, key: str, begin: int, size: int, minutes: int, interval: str) -> None:
        start, end = self.at(begin) + minutes * MINUTE, self.at(begin + size)
        if start >= end:
            return
        zone = self.past(device, key).zone
        wanted = parse_interval(interval)
        self.check(device, key, DAYS if wanted.unit else HOURS, start, end, boundaries(wanted, zone, start, end))

    @invariant()
    def hours_and_days_are_right(self) -> None:
        for device, keys in self.model.items():
            for key in keys:
                zone = self.past(device, key).zone
                start, end = self.at(0), self.at(60)
                for step, interval in ((HOURS, "1h"), (DAYS, "1d")):
                    self.check(device, key, step, start, end, boundaries(parse_interval(interval), zone, start, end))

    @invariant()
    def blocks_do_not_reach_into_each_other(self) -> None:
        ends: dict[tuple[int, int], int] = {}
        for series, step, t0, t1 in self.reader.execute(
            "SELECT series, step, t0, t1 FROM rollups ORDER BY series, step, t0"
        ):
            assert ends.get((series, step), t0) <= t0 < t1
            ends[series, step] = t1


RolledUp.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRolledUp = RolledUp.TestCase
