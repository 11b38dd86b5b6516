import pytest

from relevo.domain.devices import Registry
from relevo.domain.events import UnclaimedReading
from relevo.domain.meters import RecentReadings
from tests.store.samples import NOW, reading, registered, removed


@pytest.fixture
def registry() -> Registry:
    found = Registry()
    found.apply(registered("meter-1", "hidrometro", "ABC"))
    found.apply(registered("lamp"))
    return found


def litres(total: float, flow: float = 1.0) -> dict[str, float]:
    return {"totalLiters": total, "flowLmin": flow}


def stranger(serial: str, total: float, contract: str = "hidrometro") -> UnclaimedReading:
    return UnclaimedReading(contract, serial, NOW, "device", NOW, litres(total))


def test_only_water_meters_are_remembered_registered_or_not(registry: Registry) -> None:
    recent = RecentReadings(registry, 10)
    recent.follow(
        1,
        [
            reading("meter-1", litres(1)),
            reading("lamp", litres(2)),
            reading("gone", litres(3)),
            stranger("X", 4),
            stranger("X", 5, "native"),
        ],
    )
    assert [one["totalLiters"] for one in recent.last(10)] == [1, 4]


def test_the_current_reading_is_the_last_of_all_or_of_one_serial(registry: Registry) -> None:
    recent = RecentReadings(registry, 10)
    assert recent.current() is None
    recent.follow(1, [reading("meter-1", litres(1), ts=NOW + 5), stranger("XYZ", 2), stranger("", 3)])
    assert recent.current() == {"ts": NOW, "totalLiters": 3, "flowLmin": 1.0, "numero_serie": None}
    assert recent.current(" abc ") == {"ts": NOW + 5, "totalLiters": 1, "flowLmin": 1.0, "numero_serie": "ABC"}
    assert recent.current("nobody") is None


def test_the_memory_holds_the_last_readings_only_and_gives_them_oldest_first(registry: Registry) -> None:
    recent = RecentReadings(registry, 5)
    for n in range(12):
        recent.follow(n, [reading("meter-1", litres(n), ts=NOW + n)])
    assert len(recent) == 5
    assert [one["totalLiters"] for one in recent.last(99)] == [7, 8, 9, 10, 11]
    assert recent.last(2) == [
        {"ts": NOW + 10, "totalLiters": 10, "flowLmin": 1.0},
        {"ts": NOW + 11, "totalLiters": 11, "flowLmin": 1.0},
    ]
    assert recent.last(0) == []


def test_a_value_that_is_missing_is_zero(registry: Registry) -> None:
    recent = RecentReadings(registry, 5)
    recent.follow(1, [reading("meter-1", {"totalLiters": 3.0})])
    assert recent.last(1) == [{"ts": NOW, "totalLiters": 3.0, "flowLmin": 0.0}]


def test_a_meter_that_left_is_remembered_and_no_longer_followed(registry: Registry) -> None:
    recent = RecentReadings(registry, 5)
    recent.follow(1, [reading("meter-1", litres(1))])
    registry.apply(removed("meter-1"))
    recent.follow(2, [reading("meter-1", litres(2))])
    assert [one["totalLiters"] for one in recent.last(5)] == [1]


def test_a_flood_of_serials_takes_no_more_than_its_share_of_memory(registry: Registry) -> None:
    recent = RecentReadings(registry, 5)
    recent.follow(1, [stranger(f"S{n}", n) for n in range(10_500)])
    assert len(recent._newest) == 10_000
    recent.follow(2, [stranger("S3", 99)])
    found = recent.current("S3")
    assert found is not None
    assert found["totalLiters"] == 99


def test_after_a_restart_a_meter_that_was_silent_for_long_has_its_newest_reading(registry: Registry) -> None:
    registry.apply(registered("meter-2", "hidrometro", "OLD"))
    recent = RecentReadings(registry, 10)
    recent.restore(
        [(NOW, litres(2), "ABC"), (NOW - 9_000, litres(7), "OLD"), (NOW, litres(8), "GONE")],
        [reading("meter-1", litres(1), ts=NOW - 1), reading("meter-1", litres(2), ts=NOW)],
    )
    assert [one["totalLiters"] for one in recent.last(10)] == [7, 1, 2]
    assert recent.current("OLD") == {"ts": NOW - 9_000, "totalLiters": 7, "flowLmin": 1.0, "numero_serie": "OLD"}
