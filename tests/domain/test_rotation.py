"""Which backups stay."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.rotation import DAY_MS, kept

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def test_two_years_of_daily_backups_become_days_weeks_and_months() -> None:
    times = [ms(NOW - timedelta(days=n)) for n in range(730)]
    stay = kept(times, ms(NOW), 7, 4, 12)
    found = [datetime.fromtimestamp(one / 1000, UTC) for one in sorted(stay, reverse=True)]
    assert [f"{one:%Y-%m-%d}" for one in found] == [
        "2026-03-31", "2026-03-30", "2026-03-29", "2026-03-28", "2026-03-27", "2026-03-26", "2026-03-25",
        "2026-03-22", "2026-03-15", "2026-02-28", "2026-01-31", "2025-12-31", "2025-11-30", "2025-10-31",
        "2025-09-30", "2025-08-31", "2025-07-31", "2025-06-30", "2025-05-31", "2025-04-30",
    ]  # fmt: skip


def test_all_of_the_last_day_stay_and_one_of_each_day_before() -> None:
    times = [ms(NOW - timedelta(hours=n)) for n in range(72)]
    stay = kept(times, ms(NOW), 3, 0, 0)
    assert sum(ms(NOW) - one < DAY_MS for one in stay) == 24
    assert len(stay) == 24 + 1
    assert ms(NOW - timedelta(hours=37)) in stay


def test_the_bound_by_age_goes_before_everything_but_the_newest() -> None:
    times = [ms(NOW - timedelta(days=n)) for n in (40, 50, 400)]
    assert kept(times, ms(NOW), 7, 4, 12, 45) == {times[0]}
    assert kept(times, ms(NOW), 7, 4, 12, 30) == {times[0]}
    assert kept([], ms(NOW), 7, 4, 12, 30) == set()


@given(
    st.lists(st.integers(ms(NOW) - 3_000 * DAY_MS, ms(NOW) + 10 * DAY_MS), max_size=60),
    st.integers(0, 10), st.integers(0, 10), st.integers(0, 10), st.integers(0, 1_000),
)  # fmt: skip
def test_rotating_again_changes_nothing_and_the_newest_always_stays(
    times: list[int], daily: int, weekly: int, monthly: int, age: int
) -> None:
    stay = kept(times, ms(NOW), daily, weekly, monthly, age)
    assert stay <= set(times)
    assert kept(stay, ms(NOW), daily, weekly, monthly, age) == stay
    if times:
        assert max(times) in stay
    old = {one for one in stay - {max(times, default=0)} if age and ms(NOW) - one >= age * DAY_MS}
    assert old == set()
