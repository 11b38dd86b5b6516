from typing import Any

import pytest

from relevo.domain.events import HistoryCorrected, HistoryErased
from relevo.domain.history import POINTS_MOST, correct, erase
from relevo.domain.quality import LATE_AFTER_MS, is_late, quality, source_of
from relevo.errors import Invalid


def test_sound_changes_are_events() -> None:
    assert erase("d", 1, "", 5, 9, "ana") == HistoryErased("d", 1, "", 5, 9, "ana")
    points: list[tuple[int, Any]] = [(5, 1), (8, 1.5)]
    assert correct("d", 1, "v", 5, 9, points) == HistoryCorrected("d", 1, "v", 5, 9, points)
    assert correct("d", 1, "v", 5, 9, []).points == []


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([(4, 1)], "point_outside"),
        ([(9, 1)], "point_outside"),
        ([(6, 1), (6, 2)], "points_unordered"),
        ([(7, 1), (6, 2)], "points_unordered"),
        ([(6, float("nan"))], "value_not_finite"),
        ([(6, None)], "value_null"),
        ([(6, 2**63)], "value_out_of_range"),
        ([(6, 1)] * (POINTS_MOST + 1), "too_many_points"),
    ],
)
def test_points_that_cannot_be_are_refused(points: list[tuple[int, Any]], reason: str) -> None:
    with pytest.raises(Invalid) as raised:
        correct("d", 1, "v", 5, 9, points)
    assert raised.value.reason == reason


def test_an_empty_span_is_refused() -> None:
    for make in (lambda: erase("d", 1, "v", 9, 9), lambda: correct("d", 1, "v", 9, 8, [])):
        with pytest.raises(Invalid, match="is not later than from"):
            make()


@pytest.mark.parametrize("source", ["device", "server", "repaired", "corrected"])
def test_quality_says_whose_time_and_whether_it_was_late(source: str) -> None:
    ahead, just, late = (
        quality(source, 1_000_000, 1_000_000 + delay) for delay in (-5, LATE_AFTER_MS, LATE_AFTER_MS + 1)
    )
    assert [source_of(one) for one in (ahead, just, late)] == [source] * 3
    assert [is_late(one) for one in (ahead, just, late)] == [False, False, True]
