from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.times import DAY, YEAR_2015, YEAR_2020, ClockRule, repair, repair_batch

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 5_000_000_000)
    | st.integers(-(2**63), 2**64)
    | st.floats()
    | st.floats(0, 5e9)
    | st.text(max_size=45)
    | st.from_regex(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ]?[0-9:.,Z+-]{0,20}", fullmatch=True)
    | st.datetimes().map(lambda moment: moment.isoformat())
    | st.integers().map(str),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=2,
)
received = st.integers(YEAR_2015, 4_000_000_000_000)


@given(json_values, received, st.none() | received)
def test_a_time_is_always_believable_whatever_was_sent(raw: Any, now: int, anchor: int | None) -> None:
    ts, source, note = repair(raw, now, anchor)
    assert type(ts) is int
    assert YEAR_2015 <= ts <= now + DAY
    assert source in ("device", "server", "repaired")
    assert (source == "device") == (note in ("", "clock_no_zone"))


@given(st.lists(st.tuples(json_values, st.none() | st.integers(0, 3)), max_size=6), received)
def test_times_of_a_batch_are_always_believable(items: list[tuple[Any, int | None]], now: int) -> None:
    for boots in (None, [boot for _, boot in items]):
        found = repair_batch([raw for raw, _ in items], now, boots)
        assert len(found) == len(items)
        assert all(YEAR_2015 <= ts <= now + DAY for ts, _, _ in found)


@given(json_values, received)
def test_a_strict_rule_is_kept(raw: Any, now: int) -> None:
    rule = ClockRule(YEAR_2020, 0, 1e12)
    ts, source, _ = repair(raw, now, None, rule)
    assert ts == now or (source == "device" and YEAR_2020 <= ts <= now)


@pytest.mark.parametrize(
    "raw",
    [
        NOW,
        float(NOW),
        NOW // 1000,
        NOW / 1000,
        NOW * 1000,
        NOW * 1000 + 999,
        NOW * 1_000_000,
        str(NOW),
        str(NOW // 1000),
        f" {NOW // 1000}.0 ",
        "2026-01-01T00:00:00Z",
        "2026-01-01t00:00:00z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:00,000000000Z",
        "2025-12-31T21:00:00-03:00",
        "2025-12-31T21:00:00-0300",
        "20251231T210000-03",
        "20260101T000000Z",
        "2026-01-01T00Z",
    ],
)
def test_every_spelling_of_a_time_is_the_devices_own(raw: Any) -> None:
    assert repair(raw, NOW + 5000) == (NOW, "device", "")


@pytest.mark.parametrize("raw", ["2026-01-01T00:00:00", "2026-01-01 00:00", "2026-01-01"])
def test_text_without_a_zone_is_utc_and_says_so(raw: str) -> None:
    assert repair(raw, NOW) == (NOW, "device", "clock_no_zone")


def test_a_fraction_of_a_second_is_kept() -> None:
    assert repair("2026-01-01T00:00:00,25Z", NOW)[0] == NOW + 250
    assert repair(NOW / 1000 + 0.25, NOW)[0] == NOW + 250


@pytest.mark.parametrize(
    ("raw", "note"),
    [
        (0, "clock_boot_relative"),
        (184_233, "clock_boot_relative"),
        (184.233, "clock_boot_relative"),
        ("184233", "clock_boot_relative"),
        (946_684_830, "clock_boot_relative"),
        (4_294_967_295, "clock_boot_relative"),
        (60_000_000_000, "clock_boot_relative"),
        (-1, "clock_before_2015"),
        (-(10**30), "clock_unreadable"),
        (YEAR_2015 - 1, "clock_before_2015"),
        (10**18, "clock_before_2015"),
        (NOW + DAY + 1, "clock_future"),
        (253_402_300_799_000, "clock_future"),
        (99_999_999_999_999, "clock_future"),
        (999_999_999_999_999, "clock_future"),
        (10**15, "clock_before_2015"),
        (10**17, "clock_future"),
        (10**19, "clock_future"),
        (10**20, "clock_unreadable"),
        (10**400, "clock_unreadable"),
        (float("inf"), "clock_unreadable"),
        (float("nan"), "clock_unreadable"),
        (1e300, "clock_unreadable"),
        (True, "clock_unreadable"),
        ([NOW], "clock_unreadable"),
        ({}, "clock_unreadable"),
        ("", "clock_unreadable"),
        ("nan", "clock_unreadable"),
        ("1e12", "clock_unreadable"),
        ("yesterday", "clock_unreadable"),
        ("2026-13-01T00:00:00Z", "clock_unreadable"),
        ("2026-01-01x00:00:00Z", "clock_unreadable"),
        ("٢٠٢٦-٠١-٠١", "clock_unreadable"),
        ("9999-12-31T23:59:59Z", "clock_future"),
        ("0001-01-01T00:00:00+14:00", "clock_before_2015"),
        ("1970-01-01T00:03:04Z", "clock_before_2015"),
    ],
)
def test_what_is_no_time_becomes_the_time_of_arrival(raw: Any, note: str) -> None:
    assert repair(raw, NOW) == (NOW, "repaired", note)


def test_a_missing_time_is_ours() -> None:
    assert repair(None, NOW) == (NOW, "server", "clock_missing")


def test_a_day_ahead_is_believed() -> None:
    assert repair(NOW + DAY, NOW) == (NOW + DAY, "device", "")
    assert repair((NOW + DAY) // 1000, NOW) == (NOW + DAY, "device", "")


def test_seconds_of_the_last_year_are_told_from_a_long_running_board() -> None:
    month_ago = NOW // 1000 - 30 * 86_400
    seventeen_days = 17 * DAY
    assert repair(month_ago, NOW) == (month_ago * 1000, "device", "")
    assert repair(seventeen_days, NOW) == (NOW, "repaired", "clock_boot_relative")
    assert repair(1_500_000_000.5, NOW) == (1_500_000_000_500, "device", "")


def test_a_known_start_gives_real_times_in_either_unit() -> None:
    start = NOW - 3_600_000
    assert repair(3_599_000, NOW, start) == (NOW - 1000, "repaired", "clock_boot_relative")
    assert repair(3_599, NOW, start) == (NOW - 1000, "repaired", "clock_boot_relative")
    twenty_days = NOW // 1000 - 500
    assert repair(twenty_days, NOW, NOW - twenty_days - 7)[:2] == (NOW - 7, "repaired")


def test_seconds_since_2000_are_recognised_when_they_give_now() -> None:
    now_2000 = NOW // 1000 - 946_684_800
    assert repair(now_2000, NOW + 200) == (NOW, "repaired", "clock_epoch_2000")
    assert repair(now_2000 - 2 * 86_400, NOW) == (NOW, "repaired", "clock_boot_relative")


def times(raws: list[Any], boots: list[int | None] | None = None) -> list[int]:
    return [ts - NOW for ts, _, _ in repair_batch(raws, NOW, boots)]


def test_a_batch_of_uptimes_keeps_its_differences() -> None:
    assert repair_batch([1000, 6000, 11000], NOW) == [
        (NOW - 10_000, "repaired", "clock_boot_relative"),
        (NOW - 5_000, "repaired", "clock_boot_relative"),
        (NOW, "repaired", "clock_boot_relative"),
    ]
    assert times([11000, 1000, "6000"]) == [0, -10_000, -5_000]


def test_a_batch_of_uptimes_in_seconds_is_recognised() -> None:
    assert times([60, 120, 180]) == [-120_000, -60_000, 0]
    assert times([0.5, 300.5]) == [-300_000, 0]


@pytest.mark.parametrize("wrap", [2**30, 2**32])
def test_a_counter_that_wrapped_goes_on(wrap: int) -> None:
    assert times([wrap - 4000, wrap - 1000, 2000]) == [-6000, -3000, 0]


def test_each_start_of_the_board_counts_for_itself() -> None:
    assert times([50_000, 60_000, 5_000, 8_000], [1, 1, 2, 2]) == [-18_000, -8_000, -3_000, 0]


def test_uptimes_and_real_times_mix() -> None:
    assert times([NOW - 7, 1000, None, 3000, "x"]) == [-7, -2000, 0, 0, 0]


def test_one_recent_reading_in_seconds_settles_the_unit_of_older_ones() -> None:
    now = NOW // 1000
    assert times([now - 500 * 86_400, now - 10, 42]) == [-500 * DAY, -10_000, 0]


def test_a_backlog_in_seconds_since_2000_is_kept() -> None:
    now_2000 = NOW // 1000 - 946_684_800
    assert times([now_2000 - 3 * 86_400, now_2000 - 60, 17]) == [-3 * DAY, -60_000, 0]


def test_an_uptime_longer_than_history_is_cut() -> None:
    assert times([0, 90_000_000_000]) == [0 if NOW - 90_000_000_000 < YEAR_2015 else -90_000_000_000, 0]
    assert times([0.5, 900_000_000.5])[0] == 0


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (1_767_225_600, (NOW, "device", "")),
        (NOW, (NOW, "device", "")),
        (1_600_000_000, (1_600_000_000_000, "device", "")),
        ("1767225600", (NOW, "device", "")),
        (42, (NOW, "repaired", "clock_boot_relative")),
        (1_500_000_000, (NOW, "repaired", "clock_before_2015")),
        (999_999_999_999, (NOW, "repaired", "clock_future")),
        (NOW * 1000, (NOW, "repaired", "clock_future")),
        (-5, (NOW, "repaired", "clock_before_2015")),
        (NOW + DAY + 1, (NOW, "repaired", "clock_future")),
    ],
)
def test_a_contract_can_forbid_guessing(raw: Any, expected: tuple[int, str, str]) -> None:
    rule = ClockRule(YEAR_2020, DAY, 1e12)
    assert repair(raw, NOW, None, rule) == expected
    assert repair_batch([raw], NOW, None, rule) == [expected]
