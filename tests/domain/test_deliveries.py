"""The outbox of a webhook under any order of readings, answers, restarts and times."""

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relevo.domain.deliveries import (
    DEAD,
    DELIVERED,
    FORGOTTEN,
    RETRY_LONGEST_MS,
    WAITING,
    Attempt,
    Bounds,
    DeliveriesForgotten,
    Delivery,
    DeliveryChange,
    DeliveryDropped,
    DeliveryKept,
    Outbox,
    WebhookProgress,
    longest_pause,
    pause,
)

OK = Attempt(200)
DAY = 86_400_000
NEVER = 10**15


class Disk:
    """What is committed: all that a restart finds."""

    def __init__(self) -> None:
        self.progress = WebhookProgress("w", 0)
        self.rows: dict[int, Delivery] = {}

    def commit(self, found: tuple[list[DeliveryChange], WebhookProgress] | None) -> None:
        if found is None:
            return
        changes, self.progress = found
        for change in changes:
            match change:
                case DeliveryKept(one):
                    self.rows[one.seq] = msgspec.structs.replace(one)
                case DeliveryDropped(_, seq):
                    del self.rows[seq]
                case DeliveriesForgotten():
                    raise AssertionError("nobody asked for this")

    def outbox(self, bounds: Bounds) -> Outbox:
        box = Outbox(self.progress, bounds)
        waiting = [msgspec.structs.replace(one) for one in self.rows.values() if one.state == WAITING]
        box.load(sorted(waiting, key=lambda one: one.seq))
        return box


def delivery(seq: int, device: str = "d", now: int = 0) -> Delivery:
    return Delivery("w", seq, device, "telemetry", f"{seq}", now)


def a_step(rng: random.Random) -> tuple[Any, ...]:
    """What happens next: the device of an event ("" is not wanted), an answer to one of those underway, and so on."""
    match rng.choices(["event", "answer", "later", "commit", "restart", "crash"], [8, 8, 2, 2, 1, 1])[0]:
        case "event":
            return "event", rng.choice(["", "a", "b", "c"])
        case "answer":
            return "answer", rng.randrange(4), rng.choice([200, 204, 200, 500, 404, 503, 0])
        case "later":
            return "later", rng.choice([1, 1_000, 60_000, 7_200_000])
        case other:
            return (other,)


@settings(max_examples=300, deadline=None)
@example(412, 3_000)
@given(st.integers(0, 2**32), st.sampled_from([3_000, NEVER]))
def test_whatever_happens_nothing_is_lost_and_each_device_keeps_its_order(seed: int, give_up: int) -> None:
    rng = random.Random(seed)
    bounds = Bounds(give_up=give_up, retry_first=1_000, parallel=3, window=6, per_device=4, waiting=12)
    disk, now = Disk(), 1
    box = disk.outbox(bounds)
    journal: list[str] = []
    underway: list[Delivery] = []
    confirmed: list[int] = []
    # What was confirmed and committed is never sent again; what was confirmed since may be, after a crash.
    committed: set[int] = set()
    since: set[int] = set()
    crashed = False

    def turn() -> None:
        while box.has_room() and box.read < len(journal):
            seq = box.read + 1
            device = journal[seq - 1]
            box.examine(seq, delivery(seq, device, now) if device else None)
        underway.extend(box.due(now))
        assert len(underway) <= bounds.parallel
        assert len({one.device for one in underway}) == len(underway)
        assert len(box) <= bounds.waiting + 1

    def answer(n: int, status: int) -> None:
        one = underway.pop(n)
        if 200 <= status < 300:
            assert one.seq not in committed | since, f"{one.seq} was confirmed, committed and sent again"
            if one.seq not in confirmed:
                confirmed.append(one.seq)
            since.add(one.seq)
        box.settle(one, Attempt(status), now, rng.random())

    def commit() -> None:
        disk.commit(box.rest())
        committed.update(since)
        since.clear()

    for _ in range(rng.randrange(150)):
        turn()
        match a_step(rng):
            case ("event", device):
                journal.append(device)
            case ("answer", n, status) if underway:
                answer(n % len(underway), status)
            case ("later", ms):
                now += ms
            case ("commit",):
                commit()
            case ("restart",):
                commit()
                underway.clear()
                box = disk.outbox(bounds)
            case ("crash",):
                crashed = crashed or bool(since)
                since.clear()
                underway.clear()
                box = disk.outbox(bounds)
    for _ in range(2_000):
        turn()
        if not underway and box.read == len(journal) and not len(box):
            break
        while underway:
            answer(0, 200)
        now += RETRY_LONGEST_MS
    commit()
    wanted = {seq for seq, device in enumerate(journal, 1) if device}
    dead = {seq for seq, one in disk.rows.items() if one.state == DEAD}
    assert set(confirmed) | dead == wanted
    assert disk.progress.position == len(journal)
    assert not [one for one in disk.rows.values() if one.state == WAITING]
    assert committed | dead == wanted
    # A crash may repeat; otherwise no dead letter arrived as well.
    assert crashed or not dead & set(confirmed)
    for device in "abc" if give_up == NEVER or not crashed else "":
        # A crash can forget that one was given up; it is sent after all then, behind its successor.
        order = [seq for seq in confirmed if journal[seq - 1] == device]
        assert order == sorted(order)


def test_pauses_double_up_to_an_hour_and_are_chosen_from_all_that_is_possible() -> None:
    assert [longest_pause(n, 10_000) for n in range(1, 12)] == [
        10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 3_600_000, 3_600_000,
    ]  # fmt: skip
    assert longest_pause(10**6, 10_000) == 3_600_000
    assert pause(5, 10_000, 0.5) == 80_000
    assert pause(5, 10_000, 0.0) == 1_000
    assert pause(1, 50, 0.0) == 50


@given(st.integers(1, 10**9), st.integers(1, 3_600_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_longer_than_it_may_be(attempts: int, first: int, jitter: float) -> None:
    assert 0 < pause(attempts, first, jitter) <= max(longest_pause(attempts, first), 1_000)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_over_a_day_the_attempts_end_with_one_at_its_very_end(jitter: float) -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    box.examine(1, delivery(1, now=1_000))
    now, times, state = 1_000, [], ""
    while state != DEAD:
        (one,) = box.due(now)
        times.append(now)
        state = box.settle(one, Attempt(500, "answered 500"), now, jitter)
        if state == WAITING:
            assert box.due(one.next_at - 1) == []
            now = one.next_at
    assert times[-1] == 1_000 + DAY
    assert (one.attempts, one.status, one.error) == (len(times), 500, "answered 500")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= RETRY_LONGEST_MS
    assert len(box) == 0


def test_a_receiver_that_asks_for_quiet_gets_it_from_all_devices_and_beyond_the_end() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds(give_up=60_000))
    box.examine(1, delivery(1, "a"))
    (one,) = box.due(0)
    assert box.settle(one, Attempt(429, retry_after=50_000), 20_000, 0.0) == WAITING
    box.examine(2, delivery(2, "b"))
    assert box.due(69_999) == []
    assert box.next_at() == 70_000
    assert {one.seq for one in box.due(70_000)} == {1, 2}
    assert box.settle(one, Attempt(429, retry_after=50_000), 70_000, 0.0) == DEAD


def test_what_waits_for_longer_than_it_can_be_remembered_stops_the_reading() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds(window=3))
    for seq in (1, 2, 3):
        assert box.has_room()
        box.examine(seq, delivery(seq, f"d{seq}"))
    assert not box.has_room()
    box.settle(box.due(0)[1], OK, 0, 0.0)
    assert box.has_room()
    assert box.position == 0
    assert box.rest()[1] == WebhookProgress("w", 0, [2])


def test_a_position_that_moves_over_what_nobody_wants_is_not_committed_each_time() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    for seq in range(1, 5_000):
        box.examine(seq, None)
    assert box.unsaved() is None
    box.examine(5_000, None)
    found = box.unsaved()
    assert found is not None
    assert found[1].position == 5_000
    assert box.unsaved() is None


def test_an_attempt_that_was_broken_off_did_not_happen() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    box.examine(1, delivery(1))
    (one,) = box.due(0)
    assert box.due(0) == []
    box.give_back(one)
    assert box.due(0) == [one]
    assert one.attempts == 0
    assert box.settle(one, OK, 5, 0.0) == DELIVERED
    assert (one.attempts, one.last_at, one.status) == (1, 5, 200)


def test_what_is_final_ends_at_once_and_says_nothing_about_the_receiver() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    box.examine(1, delivery(1))
    box.examine(2, delivery(2))
    (one,) = box.due(0)
    assert box.settle(one, Attempt(0, "withheld", final=True), 0, 0.0) == DEAD
    assert box.failing_since == 0
    assert [one.seq for one in box.due(0)] == [2]


def test_errors_and_answers_are_cut() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    box.examine(1, delivery(1))
    (one,) = box.due(0)
    box.settle(one, Attempt(500, "e" * 1_000, "a" * 5_000), 0, 0.0)
    assert (len(one.error), len(one.answer)) == (300, 1_024)


def test_what_waits_of_a_device_that_is_gone_goes_and_nothing_of_others_does() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    for seq, device in enumerate("aabb", 1):
        box.examine(seq, delivery(seq, device))
    first, other = box.due(0)
    assert (box.settle(first, Attempt(500), 0, 0.9), first.device) == (WAITING, "a")
    box.rest()
    box.forget("a", 4)
    changes, progress = box.rest()
    assert changes == [DeliveryDropped("w", 1), DeliveryDropped("w", 2)]
    assert progress.position == 2
    assert box.settle(other, OK, 0, 0.0) == DELIVERED
    # Also not when it would have been its turn.
    assert [one.seq for one in box.due(DAY)] == [4]
    assert len(box) == 1


def test_what_is_being_sent_of_a_device_that_is_gone_is_sent_once_and_the_next_of_its_id_waits() -> None:
    box = Outbox(WebhookProgress("w", 0), Bounds())
    box.examine(1, delivery(1))
    box.examine(2, delivery(2))
    (flying,) = box.due(0)
    box.forget("d", 2)
    box.examine(3, delivery(3))
    assert box.due(0) == []
    assert box.settle(flying, Attempt(500), 0, 0.5) == FORGOTTEN
    (fresh,) = box.due(0)
    assert fresh.seq == 3
    assert box.settle(fresh, Attempt(500), 0, 0.5) == WAITING
    changes, progress = box.rest()
    assert [type(one).__name__ for one in changes] == ["DeliveryKept"]
    assert progress.position == 3
