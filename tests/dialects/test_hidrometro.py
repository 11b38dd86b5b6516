import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.dialect import Decoded
from relevo.dialects.hidrometro import Hidrometro, Options, configure, dialect
from relevo.domain.events import TelemetryReceived
from relevo.errors import Invalid
from relevo.wire.topics import matches

NOW = 1_767_225_600_000
FULL = Hidrometro(Options("agua/leituras", "agua/comandos", True, " padrão-1 "))


def decode(body: Any, topic: str = "hidrometro/dados", by: Hidrometro = dialect, retained: bool = False) -> Decoded:
    address = by.address(topic)
    assert address is not None
    return by.decode(address, json.dumps(body).encode(), NOW, retained)


def reading(decoded: Decoded) -> tuple[str, TelemetryReceived]:
    ((serial, event),) = decoded.events
    assert isinstance(event, TelemetryReceived)
    return serial, event


def test_hidrometro_04_a_reading_keeps_its_values_and_gets_upper_case_and_milliseconds() -> None:
    serial, event = reading(decode({"totalLiters": 123.4, "flowLmin": 6.7, "numeroSerie": "abc123"}))
    assert serial == "ABC123"
    assert event.values == {"totalLiters": 123.4, "flowLmin": 6.7}
    assert event.ts > 10**12


def test_hidrometro_05_aliases_mean_the_same() -> None:
    serial, event = reading(decode({"total": 10, "flowRate": 2.5, "serial": "ABC123"}))
    assert (serial, event.values) == ("ABC123", {"totalLiters": 10, "flowLmin": 2.5})


def test_hidrometro_12_a_message_delivered_as_retained_is_no_reading() -> None:
    decoded = decode({"total": 1, "serial": "A"}, retained=True)
    assert decoded.events == []
    assert [(who, kind) for who, kind, _ in decoded.notices] == [("A", "retained_skipped")]


def test_hidrometro_13_seconds_become_milliseconds_and_uptimes_become_server_time() -> None:
    assert reading(decode({"total": 1, "ts": 1767225600}))[1].ts == 1767225600000
    _, event = reading(decode({"total": 1, "ts": 42}))
    assert (event.ts, event.source) == (NOW, "repaired")


def test_topics_are_configurable_and_the_accented_root_is_a_switch() -> None:
    assert FULL.filters() == (
        "agua/leituras",
        "hidrometro/+/dados",
        "hidrometro/+/+/dados",
        "hidrômetro/dados",
        "hidrômetro/+/dados",
        "hidrômetro/+/+/dados",
    )
    assert dialect.filters() == ("hidrometro/dados", "hidrometro/+/dados", "hidrometro/+/+/dados")
    assert dialect.all_filters()[3:] == ("hidrometro/cmd", "hidrometro/+/cmd", "hidrometro/+/+/cmd")


@pytest.mark.parametrize("by", [dialect, FULL])
@given(st.lists(st.sampled_from(["hidrometro", "hidrômetro", "dados", "a", "", "5", "agua", "leituras"]), max_size=5))
def test_a_topic_is_the_contracts_exactly_when_the_server_subscribes_to_it(by: Hidrometro, levels: list[str]) -> None:
    topic = "/".join(levels) or "x"
    assert (by.address(topic) is not None) == any(matches(one, topic) for one in by.filters())


def test_the_default_serial_comes_last() -> None:
    assert reading(decode({"total": 1}, "agua/leituras", FULL))[0] == "PADRÃO-1"
    assert reading(decode({"total": 1}, "hidrômetro/3/5/dados", FULL))[0] == "@5"
    assert reading(decode({"total": 1, "serial": "x"}, "agua/leituras", FULL))[0] == "X"


def test_a_meter_may_publish_readings_and_hear_commands_only() -> None:
    publish, subscribe = dialect.device_filters("A")
    assert not any(matches(one, "hidrometro/cmd") for one in publish)
    assert any(matches(one, "hidrometro/cmd") for one in subscribe)
    assert not any(matches(one, "hidrometro/dados") for one in subscribe)


def test_options_are_picked_from_a_mapping() -> None:
    made = configure({"topic_dados": "x/y", "history_limit": 9, "default_serial": "z"})
    assert made.options() == {
        "topic_dados": "x/y",
        "topic_cmd": "hidrometro/cmd",
        "accented_root": False,
        "default_serial": "z",
    }


NAMES = ["totalLiters", "total", "flowLmin", "flowRate", "numeroSerie", "serial", "ts", "data_hora", "id_dispositivo"]
EXTRAS = ["consumo_litros", "nivel_bateria", "bateria", "pressao_bar", "vazamento_detectado", "id_cliente", "other"]
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aB1. @-eé", max_size=6) | st.lists(st.integers())
)


@given(st.dictionaries(st.sampled_from(NAMES + EXTRAS), VALUES))
def test_whatever_is_accepted_is_finite_not_negative_and_has_both_main_values(body: dict[str, Any]) -> None:
    address = dialect.address("hidrometro/dados")
    assert address is not None
    try:
        decoded = dialect.decode(address, json.dumps(body).encode(), NOW, False)
    except Invalid as problem:
        assert problem.reason
        return
    serial, event = reading(decoded)
    assert serial == serial.strip().upper()
    assert {"totalLiters", "flowLmin"} <= set(event.values)
    assert all(type(v) is bool or (type(v) is float and 0 <= v < float("inf")) for v in event.values.values())
