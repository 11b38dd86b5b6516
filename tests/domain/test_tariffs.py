"""What water costs: steps are bands, amounts add up, and what is wrong with a tariff is named."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.tariffs import Bill, Step, Tariff, bill, check_tariff
from relevo.errors import Invalid

STEPPED = Tariff("t", "T", "BRL", 20.0, [Step(10, 2.0), Step(25, 4.0), Step(None, 8.0)], 10.0)


@pytest.mark.parametrize(
    ("litres", "wanted"),
    [
        (0, Bill(20.0, 0.0, 2.0, 22.0)),
        (-5, Bill(20.0, 0.0, 2.0, 22.0)),
        (10_000, Bill(20.0, 20.0, 4.0, 44.0)),
        (10_500, Bill(20.0, 22.0, 4.2, 46.2)),
        (25_000, Bill(20.0, 80.0, 10.0, 110.0)),
        (30_000, Bill(20.0, 120.0, 14.0, 154.0)),
    ],
)
def test_each_band_has_its_price(litres: float, wanted: Bill) -> None:
    assert bill(litres, STEPPED) == pytest.approx(wanted)


def test_beyond_the_last_step_the_last_price_holds() -> None:
    bounded = Tariff("t", "T", "BRL", 0.0, [Step(10, 2.0), Step(20, 3.0)])
    assert bill(40_000, bounded).water == 20 + 30 + 60


_STEPS = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 50)), min_size=1, max_size=6)


@given(_STEPS, st.integers(0, 10**6), st.integers(0, 10**5))
def test_more_water_never_costs_less_and_one_price_is_a_product(
    bands: list[tuple[int, int]], litres: int, more: int
) -> None:
    end, steps = 0, []
    for width, price in bands:
        end += width
        steps.append(Step(float(end), float(price)))
    tariff = Tariff("t", "T", "EUR", 5.0, steps, 21.0)
    check_tariff(tariff)
    less, found = bill(litres, tariff), bill(litres + more, tariff)
    assert less.total <= found.total
    assert found.total == pytest.approx(found.base + found.water + found.taxes)
    flat = Tariff("t", "T", "EUR", 0.0, [Step(one.up_to_m3, 3.0) for one in steps])
    assert bill(litres, flat).water == pytest.approx(litres / 1000 * 3, abs=0.006)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "a b"}, "id"),
        ({"name": " "}, "name"),
        ({"currency": "Real"}, "currency"),
        ({"base": -1.0}, "base"),
        ({"base": float("nan")}, "base"),
        ({"taxes_percent": 101.0}, "taxes_percent"),
        ({"steps": []}, "steps"),
        ({"steps": [Step(None, 1.0)] * 21}, "steps"),
        ({"steps": [Step(10, 1.0), Step(10, 2.0)]}, "steps.1.up_to_m3"),
        ({"steps": [Step(None, 1.0), Step(10, 2.0)]}, "steps.0.up_to_m3"),
        ({"steps": [Step(None, -1.0)]}, "steps.0.price"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_tariff(msgspec.structs.replace(STEPPED, **changes))
    assert caught.value.errors[0].field == field
