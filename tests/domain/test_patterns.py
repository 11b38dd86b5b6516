import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.patterns import PATTERN_CHARS, Named, Pattern, problem_of
from relevo.wire.topics import matches, valid_filter

LEVELS = st.sampled_from(["iot", "a", "x-y", "{device_id}", "{sensor_type}", "{timestamp}", "d-{device_id}", "+", "#"])
TEXTS = st.lists(LEVELS, min_size=1, max_size=6).map("/".join)


@pytest.mark.parametrize(
    ("text", "topic", "named"),
    [
        ("iot/sensors/{device_id}/data", "iot/sensors/ESP32_001/data", Named("ESP32_001")),
        ("iot/sensors/{device_id}/data", "iot/sensors/ESP32_001/other", None),
        ("iot/sensors/{device_id}/data", "iot/sensors//data", None),
        ("s/{device_id}/{sensor_type}/{timestamp}", "s/d1/co2/1795270000", Named("d1", "co2", "1795270000")),
        ("s/{device_id}/{sensor_type}/{timestamp}", "s/d1/co2/noon", None),
        ("s/dev-{device_id}.json", "s/dev-7.json", Named("7")),
        ("s/{device_id}/#", "s/d1", Named("d1")),
        ("s/{device_id}/#", "s/d1/a/b", Named("d1")),
        ("s/+/{device_id}", "s/any/d1", Named("d1")),
        ("todos", "todos", Named()),
    ],
)
def test_a_topic_says_what_its_pattern_names(text: str, topic: str, named: Named | None) -> None:
    assert problem_of(text) == ""
    assert Pattern(text).named(topic) == named


@pytest.mark.parametrize(
    "text",
    [
        "", " x", "$SYS/x", "a/{colour}", "a/{device_id", "a}b", "{device_id}/{device_id}", "a/#/b", "a+/b", "a/b#",
        "x" * (PATTERN_CHARS + 1), "a\nb",
    ],
)  # fmt: skip
def test_what_cannot_be_a_pattern_is_told(text: str) -> None:
    assert problem_of(text)


@given(TEXTS)
def test_a_pattern_is_a_filter_of_the_topics_it_names(text: str) -> None:
    if problem_of(text):
        return
    one = Pattern(text)
    assert valid_filter(one.filter)
    assert valid_filter(one.filter_for("d1"))
    topic = text.replace("{device_id}", "d1").replace("{sensor_type}", "co2").replace("{timestamp}", "17")
    topic = re.sub(r"[+#]", "z", topic)
    assert matches(one.filter, topic)
    assert matches(one.filter_for("d1"), topic)
    assert one.named(topic) is not None


def test_the_more_it_says_the_earlier_it_is_asked() -> None:
    texts = ["{device_id}/+/#", "iot/{device_id}/data", "iot/sensors/{device_id}/data"]
    assert [one.text for one in sorted(map(Pattern, texts), key=lambda one: one.rank)] == texts[::-1]


def test_what_a_pattern_is_for_follows_from_its_levels() -> None:
    assert Pattern("a/{device_id}/status").channel == "status"
    assert Pattern("a/alertas/{device_id}").channel == "alert"
    assert Pattern("a/{device_id}/temperature").channel == "data"
