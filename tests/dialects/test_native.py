import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.dialects.native import CHANNELS, Native, Options, configure, dialect
from relevo.domain.events import TelemetryReceived
from relevo.domain.telemetry import TelemetryLimits
from relevo.errors import Invalid
from relevo.wire.topics import matches

NOW = 1_767_225_600_000


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("channel", ["telemetry", "state", "event", "response", "status", "update/get", "update/state"])
def test_a_devices_rights_are_its_own_topics_alone(channel: str) -> None:
    publish, subscribe = dialect.device_filters("d1")
    topic = f"relevo/d1/{channel}"
    assert any(matches(one, topic) for one in publish)
    assert any(matches(one, topic) for one in dialect.filters())
    assert not any(matches(one, f"relevo/d2/{channel}") for one in (*publish, *subscribe))
    assert subscribe == (
        "relevo/d1/command", "relevo/d1/desired", "relevo/d1/update/manifest", "relevo/d1/update/image",
    )  # fmt: skip
    assert dialect.address(topic) is not None


@given(st.binary(max_size=60), st.sampled_from(CHANNELS), st.booleans())
def test_any_payload_is_decoded_or_refused(payload: bytes, channel: str, retained: bool) -> None:
    address = dialect.address(f"relevo/d1/{channel}")
    assert address is not None
    try:
        dialect.decode(address, payload, NOW, retained)
    except Invalid as problem:
        assert problem.reason
        assert problem.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ts", "values", "boot", "seq", "device", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(json_values)
def test_whatever_json_arrives_each_body_gives_items_or_a_refusal(value: Any) -> None:
    payload = body(value)
    for decode in (lambda: dialect.readings(payload, NOW, "d1"), lambda: dialect.collection(payload, NOW)):
        try:
            items = decode()
        except Invalid as problem:
            assert problem.reason
            continue
        assert [item.index for item in items] == list(range(len(items)))
        assert all(item.event is not None or item.refused for item in items)
        if isinstance(value, list):
            assert len(items) == len(value)


def test_a_batch_longer_than_the_limit_is_refused_whole() -> None:
    small = configure({"batch_items": 2, "keys_per_reading": 3, "queue_events": 1})
    assert len(small.readings(body([{"values": {"a": 1}}] * 2), NOW, "d1")) == 2
    with pytest.raises(Invalid) as caught:
        small.readings(body([{"values": {"a": 1}}] * 3), NOW, "d1")
    assert caught.value.reason == "batch_too_long"
    (item,) = small.readings(body({"a": 1, "b": 2, "c": 3, "d": 4}), NOW, "d1")
    assert item.event is not None
    assert item.event.values == {"a": 1, "b": 2, "c": 3}
    assert small.options() == {"batch_items": 2, "keys_per_reading": 3}


def test_readings_of_many_devices_keep_their_place_and_their_clock() -> None:
    items = dialect.collection(
        body(
            [
                {"device": "a", "ts": 1000, "values": {"t": 1}},
                {"device": "b", "ts": 900_000, "values": {"t": 2}},
                {"device": "a", "ts": 4000, "values": {"t": 3}},
                {"device": "x y", "values": {"t": 4}},
                {"values": {"t": 5}},
                {"device": "a", "values": {"t": 6}, "extra": 1},
            ]
        ),
        NOW,
    )
    assert [(item.index, item.device, item.event.ts - NOW if item.event else None) for item in items] == [
        (0, "a", -3000),
        (1, "b", 0),
        (2, "a", 0),
        (3, "", None),
        (4, "", None),
        (5, "a", 0),
    ]
    assert [problem.reason for item in items for problem in item.refused] == [
        "id_invalid",
        "id_invalid",
        "field_unknown",
    ]
    assert items[3].refused[0].errors[0].field == "device"


def test_one_reading_may_be_posted_without_a_list() -> None:
    (item,) = dialect.collection(body({"device": "a", "values": {"t": 1}}), NOW)
    assert (item.device, item.event) == ("a", TelemetryReceived("", NOW, "server", NOW, {"t": 1}))


def test_a_field_error_names_the_key() -> None:
    (item,) = dialect.readings(body({"values": {"t": 1, "bad": None}, "odd": 1, "odder": 2}), NOW, "d1")
    assert [error.field for problem in item.refused for error in problem.errors] == ["bad", "odd", "odder"]


def test_refusals_in_a_batch_say_which_item_they_mean() -> None:
    address = dialect.address("relevo/d1/telemetry")
    assert address is not None
    decoded = dialect.decode(address, body([{"values": {"a": 1}}, {"values": {"a": None}}]), NOW, False)
    assert decoded.refused[0][1].message.startswith("item 1: a: is null")


def test_ten_thousand_unknown_fields_are_one_refusal() -> None:
    (item,) = dialect.readings(body({"values": {"t": 1}} | {f"f{n}": n for n in range(10_000)}), NOW, "d1")
    assert len(item.refused) == 1
    assert len(item.refused[0].message) < 400


def test_limits_are_part_of_the_options() -> None:
    strict = Native(Options(TelemetryLimits(text_chars=2)))
    (item,) = strict.readings(body({"a": "abc", "b": "ab"}), NOW, "d1")
    assert item.event is not None
    assert item.event.values == {"b": "ab"}


def test_what_is_desired_is_said_with_its_version_on_a_topic_of_its_own() -> None:
    said = dialect.desired_message("d1", {"on": True, "level": 3}, 7, {})
    assert said.topic in dialect.desired_topics("d1", {})
    assert json.loads(said.payload) == {"version": 7, "values": {"on": True, "level": 3}}
    publish, subscribe = dialect.device_filters("d1")
    assert any(matches(one, said.topic) for one in subscribe)
    assert not any(matches(one, said.topic) for one in publish)


def test_a_state_is_what_is_reported_and_a_reading_is_not() -> None:
    address = dialect.address("relevo/d1/state")
    assert address is not None
    ((_, event),) = dialect.decode(address, body({"on": True, "old": None}), NOW, False).events
    assert type(event) in dialect.reporting
    assert dialect.reported(event) == {"on": True, "old": None}
    assert dialect.reported(TelemetryReceived("d1", NOW, "server", NOW, {"on": True})) is None
