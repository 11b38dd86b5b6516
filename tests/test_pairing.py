"""The pairing window under a clock that is moved by hand."""

import asyncio
from typing import Any

import pytest

from relevo.clock import ManualClock
from relevo.domain.claims import PairingWindow
from relevo.domain.events import Audited, Noticed
from relevo.domain.records import Dropped, Kept
from relevo.pairing import Pairing


class Road:
    """Takes whatever is submitted."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def submit(self, events: Any) -> None:
        self.events += events

    async def accept(self, events: Any) -> None:
        self.events += events


@pytest.fixture
def road() -> Road:
    return Road()


def audited(action: str) -> Audited:
    return Audited(0, "ana", action, "pairing")


def told(road: Road) -> list[str]:
    return [event.kind for event in road.events if isinstance(event, Noticed)]


async def test_the_window_closes_by_itself_to_the_second(road: Road) -> None:
    clock = ManualClock()
    pairing = Pairing(road, clock, False)  # type: ignore[arg-type]
    assert not pairing.is_open
    window = await pairing.open(10, "ana", audited("pairing.open"))
    assert window.closes_at - window.opened_at == 600_000
    clock.advance(599.9)
    assert pairing.is_open
    clock.advance(0.1)
    assert not pairing.is_open
    assert not pairing.is_open
    assert told(road) == ["pairing_opened", "pairing_closed"]
    assert [event.action for event in road.events if isinstance(event, Audited)] == ["pairing.open", "pairing.close"]
    pairing.stop()


async def test_that_it_closed_is_told_though_nobody_asks(road: Road) -> None:
    clock = ManualClock()
    pairing = Pairing(road, clock, False)  # type: ignore[arg-type]
    await pairing.open(1, "ana", audited("pairing.open"))
    clock.advance(60)
    pairing._watch()
    assert told(road) == ["pairing_opened", "pairing_closed"]
    assert pairing._timer is None


async def test_the_wall_clock_does_not_move_the_end(road: Road) -> None:
    clock = ManualClock()
    pairing = Pairing(road, clock, False)  # type: ignore[arg-type]
    await pairing.open(1, "ana", audited("pairing.open"))
    clock.jump(7_200)
    assert pairing.is_open
    clock.jump(-14_400)
    clock.advance(61)
    assert not pairing.is_open


async def test_opening_again_sets_the_end_anew_and_closing_ends_it_at_once(road: Road) -> None:
    clock = ManualClock()
    pairing = Pairing(road, clock, False)  # type: ignore[arg-type]
    await pairing.open(10, "ana", audited("pairing.open"))
    await pairing.open(1, "ben", audited("pairing.open"))
    clock.advance(30)
    assert await pairing.close("ben", audited("pairing.close"))
    assert not pairing.is_open
    assert not await pairing.close("ben", audited("pairing.close"))
    clock.advance(600)
    await asyncio.sleep(0)
    assert told(road) == ["pairing_opened", "pairing_opened", "pairing_closed"]


def test_the_setting_keeps_it_open_for_ever(road: Road) -> None:
    pairing = Pairing(road, ManualClock(), True)  # type: ignore[arg-type]
    assert pairing.is_open
    assert pairing.window is None


def kept(road: Road) -> PairingWindow | None:
    """The record that the next process finds."""
    found = None
    for one in road.events:
        if isinstance(one, Kept) and isinstance(one.record, PairingWindow):
            found = one.record
        elif isinstance(one, Dropped):
            found = None
    return found


async def test_what_is_left_of_a_window_goes_on_in_the_next_process(road: Road) -> None:
    clock = ManualClock()
    first = Pairing(road, clock, False)  # type: ignore[arg-type]
    opened = await first.open(10, "ana", audited("pairing.open"))
    first.stop()
    left = kept(road)
    assert left is not None
    clock.advance(200)
    second = Pairing(road, clock, False)  # type: ignore[arg-type]
    second.resume(left)
    assert second.window is not None
    assert (second.window.by, second.window.closes_at) == ("ana", opened.closes_at)
    clock.advance(399.9)
    assert second.is_open
    clock.advance(0.1)
    assert not second.is_open
    assert kept(road) is None
    assert told(road) == ["pairing_opened", "pairing_opened", "pairing_closed"]
    second.stop()


async def test_a_window_whose_time_passed_while_the_server_was_off_is_told_as_closed(road: Road) -> None:
    clock = ManualClock()
    left = PairingWindow("window", "ana", clock.now_ms(), clock.now_ms() + 60_000)
    clock.advance(60)
    pairing = Pairing(road, clock, False)  # type: ignore[arg-type]
    pairing.resume(left)
    assert not pairing.is_open
    assert told(road) == ["pairing_closed"]
    assert isinstance(road.events[0], Dropped)


async def test_a_wall_clock_that_was_set_back_does_not_lengthen_it(road: Road) -> None:
    clock = ManualClock()
    left = PairingWindow("window", "ana", clock.now_ms(), clock.now_ms() + 60_000)
    clock.jump(-86_400)
    pairing = Pairing(road, clock, False)  # type: ignore[arg-type]
    pairing.resume(left)
    assert pairing.is_open
    clock.advance(60)
    assert not pairing.is_open
    pairing.stop()


async def test_a_window_that_was_closed_leaves_nothing_to_go_on_with(road: Road) -> None:
    pairing = Pairing(road, ManualClock(), False)  # type: ignore[arg-type]
    await pairing.open(10, "ana", audited("pairing.open"))
    assert kept(road) is not None
    await pairing.close("ana", audited("pairing.close"))
    assert kept(road) is None
