from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.devices import Device, Registry
from relevo.domain.events import TelemetryReceived
from relevo.domain.meters import Numbers, Rows, Volume, number_of, state_of, whole
from tests.store.samples import NOW, registered


def reading(total: float, at: int = 0, **more: float) -> TelemetryReceived:
    return TelemetryReceived("m", NOW + at, "device", NOW + at, {"totalLiters": total, "flowLmin": 1.0} | more)


def fresh(every_s: int = 10) -> Rows:
    return Rows(every_s * 1000, lambda _: (None, 0))


def test_a_row_every_ten_seconds_of_what_nobody_is_told_to_be_stored() -> None:
    rows = fresh()
    kept = [n for n in range(35) if rows.take("m", reading(100 + n, n * 1000), False)]
    assert kept == [0, 10, 20, 30]


def test_what_is_acknowledged_a_reset_and_a_leak_are_always_rows() -> None:
    rows = fresh()
    assert rows.take("m", reading(100), False)
    assert not rows.take("m", reading(101, 1), False)
    assert rows.take("m", reading(102, 2), True)
    assert rows.take("m", reading(0.5, 3), False)
    assert not rows.take("m", reading(0.6, 4), False)
    assert rows.take("m", reading(0.7, 5, vazamento_detectado=True), False)


def test_a_message_without_a_total_is_no_reset() -> None:
    rows = fresh()
    for total, flowed in ((100, 0), (0.0, 0), (101, 1)):
        one = reading(total)
        assert rows.take("m", one, True)
        assert one.values["consumo_litros"] == flowed


def test_after_a_restart_the_stored_total_is_where_it_goes_on() -> None:
    rows = Rows(10_000, lambda _: (90.0, NOW - 5))
    one = reading(100)
    rows.take("m", one, False)
    assert one.values["consumo_litros"] == 10


@given(st.lists(st.tuples(st.floats(0, 50), st.booleans()), min_size=1, max_size=60))
def test_what_flowed_is_in_the_rows_whichever_are_stored(steps: list[tuple[float, bool]]) -> None:
    rows, volume, total, expected = fresh(), Volume(), 1.0, 0.0
    rows.take("m", reading(total), True)
    counted = 0.0
    for n, (more, acknowledged) in enumerate([*steps, (0.0, True)], 1):
        total += more
        expected += more
        one = reading(total, n * 1000)
        if rows.take("m", one, acknowledged):
            counted += one.values["consumo_litros"]
            volume.of(one)
    assert abs(counted - expected) < 1e-3


def test_volume_of_old_rows_comes_from_totals() -> None:
    volume = Volume()
    assert [volume.of(reading(total, n)) for n, total in enumerate((10, 15, 0.0, 16, 2, 5))] == [0, 5, 0, 1, 0, 3]


def test_numbers_and_states() -> None:
    registry = Registry()
    for n, (serial, attributes) in enumerate((("A", {}), ("B", {"id_dispositivo": "7"}), ("C", {"id_dispositivo": 1}))):
        event = registered(f"m-{serial}", "hidrometro", serial)
        event.attributes = attributes
        registry.apply(event, n + 1)
    numbers = Numbers(registry)
    # C was given the number that A has by chance.
    assert [numbers.serial(n) for n in (1, 7, 2, 99)] == ["C", "B", "", ""]
    meter = registry.find("hidrometro", "B")
    assert isinstance(meter, Device)
    assert number_of(meter) == 7
    assert state_of(meter) == "Ativo"
    meter.attributes["status"] = "inativo"
    assert state_of(meter) == "Inativo"
    assert [whole(one) for one in (5, " 5 ", "x", -1, True, 1.0, 2**60, None)] == [
        5,
        5,
        None,
        None,
        None,
        None,
        None,
        None,
    ]
