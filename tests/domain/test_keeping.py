import pytest

from relevo.domain.forecast import DAY, forecast
from relevo.domain.keeping import Ages, Keeping, Policy, check_ages, check_keeping, id_of
from relevo.errors import Invalid


@pytest.mark.parametrize("ages", [Ages(), Ages(30, 400, 0), Ages(7, 7, 7), Ages(1, 0, 0), Ages(36_500, 36_500, 36_500)])
def test_what_is_coarser_is_kept_as_long_or_longer(ages: Ages) -> None:
    check_ages(ages)


@pytest.mark.parametrize(
    ("ages", "field"),
    [
        (Ages(-1, 0, 0), "raw_days"),
        (Ages(0, 36_501, 0), "hours_days"),
        (Ages(30, 7, 0), "raw_days"),
        (Ages(0, 7, 0), "raw_days"),
        (Ages(1, 30, 7), "hours_days"),
        (Ages(1, 0, 7), "hours_days"),
    ],
)
def test_each_wrong_age_is_named_with_its_limit(ages: Ages, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_ages(ages)
    assert refused.value.errors[0].field == field
    assert refused.value.reason == "retention_invalid"


def test_names_have_a_limit() -> None:
    with pytest.raises(Invalid, match="key must be at most 128"):
        check_keeping(Keeping("x", "", "k" * 129, 1, 0, 0))


def test_pairs_have_ids_of_their_own() -> None:
    assert len({id_of("a", "b"), id_of("a,b", ""), id_of('a","b', ""), id_of("", "ab")}) == 4


def test_of_several_the_most_particular_holds() -> None:
    rules = [(("meter", ""), 1), (("", "t"), 2), (("meter", "t"), 3)]
    policy = Policy(Ages(9, 0, 0), [Keeping(id_of(*pair), *pair, days, 0, 0) for pair, days in rules])
    found = [policy.ages(*pair).raw_days for pair in (("meter", "t"), ("meter", "x"), ("relay", "t"), ("relay", "x"))]
    assert found == [3, 1, 2, 9]
    assert policy.bounded
    assert not Policy(Ages()).bounded


def test_a_forecast_follows_what_was_used() -> None:
    now = 100 * DAY
    notes = [(now - days * DAY, 1_000_000 - days * 10_000) for days in range(10, 0, -1)]
    found = forecast(notes, now, 1_000_000, 1_100_000)
    assert found is not None
    assert round(found.growth) == 10_000
    assert found.full_at is not None
    assert round((found.full_at - now) / DAY, 3) == 10


@pytest.mark.parametrize(
    ("notes", "used", "limit", "wanted"),
    [
        ([], 5, 10, None),
        ([(100 * DAY - 60_000, 4)], 5, 10, None),
        # Older than two weeks says nothing.
        ([(80 * DAY, 4)], 5, 10, None),
        ([(99 * DAY, 5)], 5, 10, (0.0, None)),
        ([(99 * DAY, 6)], 5, 10, (-1.0, None)),
        ([(99 * DAY, 4)], 5, 0, (1.0, None)),
        # More than is allowed already.
        ([(99 * DAY, 4)], 5, 3, (1.0, 100 * DAY)),
    ],
)
def test_there_is_not_always_something_to_expect(
    notes: list[tuple[int, int]], used: int, limit: int, wanted: tuple[float, int | None] | None
) -> None:
    found = forecast(notes, 100 * DAY, used, limit)
    assert (found and (round(found.growth, 6), found.full_at)) == wanted
