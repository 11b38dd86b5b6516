"""Widgets are kept as they are meant, or refused with the place of what is wrong."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.board_templates import widgets_for
from relevo.domain.board_widgets import (
    PLACEHOLDER,
    TYPES,
    charted_by,
    check,
    is_open,
    key_of,
    pictures_of,
    shown_by,
    span_ms,
    with_device,
)
from relevo.domain.boards import COLUMNS, DOCUMENT_BYTES_MOST, WIDGETS_MOST
from relevo.domain.capabilities import METER, RELAY, SENSOR, SWITCH, Capability
from relevo.errors import Invalid

PLACE = {"x": 0, "y": 0, "w": 3, "h": 2}
# The least that each type needs beside its place.
LEAST: dict[str, dict[str, Any]] = {
    "value": {"device": "d", "key": "k"},
    "gauge": {"device": "d", "key": "k"},
    "chart": {"device": "d", "key": "k"},
    "switch": {"device": "d", "key": "k"},
    "slider": {"device": "d", "key": "k"},
    "button": {"device": "d", "options": {"command": "go"}},
    "status": {"device": "d"},
    "text": {},
    "picture": {},
    "table": {"options": {"tag": "t"}},
    "alerts": {},
    "countdown": {"options": {"schedule": "s"}},
    "pin": {"device": "d", "options": {"virtual_pin": "v0"}},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = (
    "id",
    "type",
    "title",
    "x",
    "y",
    "w",
    "h",
    "device",
    "key",
    "options",
    "min",
    "max",
    "series",
    "pins",
    "devices",
)
WIDGETS = st.fixed_dictionaries(
    {name: st.integers(0, 3) | JSON for name in ("x", "y")} | {name: st.integers(1, 4) | JSON for name in ("w", "h")},
    optional={
        "type": st.sampled_from(sorted(TYPES)) | JSON,
        "device": st.sampled_from(["d", "e", ""]) | JSON,
        "key": st.sampled_from(["k", ""]) | JSON,
        "id": st.sampled_from(["a", ""]) | JSON,
        "options": st.dictionaries(st.sampled_from(WORDS), JSON, max_size=3) | JSON,
    },
)


def one(kind: str, **more: Any) -> dict[str, Any]:
    least = LEAST[kind]
    given_options = least.get("options", {}) | more.pop("options", {})
    return PLACE | {"type": kind} | least | {"options": given_options} | more


def refused(*widgets: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        check(widgets)
    assert caught.value.reason == "widget_invalid"
    return [(each.field, each.message) for each in caught.value.errors]


def test_there_is_a_least_one_of_every_type() -> None:
    assert LEAST.keys() == TYPES.keys()
    found = check([one(kind) for kind in TYPES])
    assert len({each["id"] for each in found}) == len(TYPES)
    # What comes back is whole, and good again as it is.
    assert check(found) == found


@given(st.lists(WIDGETS, max_size=4))
def test_whatever_comes_is_kept_whole_or_refused_with_its_place(widgets: list[Any]) -> None:
    try:
        found = check(widgets)
    except Invalid as error:
        for each in error.errors:
            place = re.match(r"widgets\[(\d+)\]|widgets$", each.field)
            assert place, each.field
            assert not place[1] or int(place[1]) < len(widgets)
            assert each.message
    else:
        assert len(found) == len(widgets)
        assert check(json.loads(json.dumps(found))) == found
        for each in found:
            assert 0 <= each["x"] < each["x"] + each["w"] <= COLUMNS
            assert all(device for device, _ in shown_by(each))
            assert set(charted_by(each)) <= set(shown_by(each))


@given(st.sampled_from(sorted(LEAST)), st.sampled_from(["device", "key", "options", "x", "w", "extra"]), JSON)
def test_one_wrong_widget_is_named_whatever_stands_beside_it(kind: str, name: str, value: Any) -> None:
    widget = one(kind) | {name: value}
    try:
        check([widget])
    except Invalid as error:
        (problem,) = error.errors
        assert refused(one("text"), widget) == [(problem.field.replace("[0]", "[1]", 1), problem.message)]


@pytest.mark.parametrize(
    ("widget", "field", "message"),
    [
        (one("gauge", options={"min": 1, "max": 1}), "options.max", "must be more than options.min, which is 1"),
        (one("gauge", options={"max": 1e16}), "options.max", "expected `float` <= 1000000000000000.0"),
        (one("gauge", options={"colour": 1}), "options.colour", "object contains unknown field `colour`"),
        (one("value") | {"key": ""}, "key", "is needed by a widget of type value"),
        (one("status") | {"device": ""}, "device", "is needed by a widget of type status"),
        (one("slider", options={"target": "command"}), "options.command", "is needed with the target command"),
        (one("slider", options={"step": 0}), "options.step", "expected `float` > 0.0"),
        (
            one("chart", options={"aggregate": "max"}),
            "options.interval",
            "and options.aggregate go together: give both or none",
        ),
        (
            one("chart", options={"aggregate": "max", "interval": "7h1"}),
            "options.interval",
            "must be 1m to 720m, 1h to 24h, 1d, 1w, 1mo or 1y",
        ),
        (
            one("chart") | {"key": ""},
            "options.series",
            "is empty, and there is no device and key beside it",
        ),
        (
            one("picture", options={"pins": [{"x": 0, "y": 100.5, "device": "d"}]}),
            "options.pins[0].y",
            "expected `float` <= 100.0",
        ),
        (one("pin", options={"virtual_pin": "v10000"}), "options.virtual_pin", None),
        (
            one("button", options={"params": {"a": "x" * 5_000}}),
            "options.params",
            "must have at most 4096 bytes as JSON",
        ),
        (
            one("table", options={"devices": ["d"]}),
            "options.tag",
            "and options.devices are two choices: give one of them",
        ),
        (one("countdown", options={"schedule": ""}), "options.relay", None),
        (one("countdown", options={"schedule": "", "relay": 1}), "device", None),
        (one("text") | {"type": "frame"}, "type", f"must be one of {', '.join(TYPES)}"),
        (one("text") | {"y": 1_000}, "y", "expected `int` <= 999"),
        (one("text") | {"y": True}, "y", "expected `int`, got `bool`"),
        (one("text") | {"x": 9, "w": 4}, "w", "is 4 at x 9: the grid has 12 columns"),
        ("text", "", "expected `object`, got `str`"),
    ],
)
def test_what_is_wrong_is_told_with_its_limit(widget: Any, field: str, message: str | None) -> None:
    ((place, words),) = refused(widget)
    assert place == f"widgets[0].{field}".rstrip(".")
    if message is not None:
        assert words == message


def test_an_id_is_one_widgets_and_there_is_room_for_a_hundred() -> None:
    assert refused(one("text", id="a"), one("text", id="a")) == [("widgets[1].id", "'a' is another widget's already")]
    assert [each["id"] for each in check([one("text"), one("text", id="w1")])] == ["w2", "w1"]
    assert len(check([one("text")] * WIDGETS_MOST)) == WIDGETS_MOST
    assert refused(*[one("text")] * (WIDGETS_MOST + 1))[0][0] == "widgets"
    ((place, words),) = refused(*[one("text", options={"text": "é" * 4_000})] * WIDGETS_MOST)
    assert (place, str(DOCUMENT_BYTES_MOST) in words) == ("widgets", True)


def test_what_a_widget_shows() -> None:
    series = [{"device": "a", "key": "t"}, {"device": "a", "key": "t"}, {"device": "b", "key": "u"}]
    chart, pin, table, tagged, alerts, picture = check(
        [
            PLACE | {"type": "chart", "options": {"series": series, "range": "2w"}},
            one("pin", options={"virtual_pin": "v7"}),
            PLACE | {"type": "table", "options": {"devices": ["a", "b"], "keys": ["t", "u"]}},
            one("table"),
            one("alerts"),
            one("picture", options={"picture": "p", "pins": [{"x": 1, "y": 2, "device": "c", "key": "k"}]}),
        ]
    )
    assert shown_by(chart) == charted_by(chart) == [("a", "t"), ("b", "u")]
    assert span_ms(chart) == 14 * 86_400_000
    assert (shown_by(pin), key_of(pin), charted_by(pin)) == ([("d", "v7")], "v7", [])
    assert shown_by(table) == [("a", "t"), ("a", "u"), ("b", "t"), ("b", "u")]
    assert [is_open(each) for each in (table, tagged, alerts, chart)] == [False, True, True, False]
    assert (shown_by(picture), pictures_of([picture, table])) == ([("c", "k")], {"p"})


def test_a_device_takes_the_place_of_another_everywhere_but_in_what_is_told() -> None:
    widgets = check(
        [
            one("button", options={"params": {"device": "d", "devices": ["d"]}}),
            PLACE
            | {"type": "chart", "options": {"series": [{"device": "d", "key": "k"}, {"device": "e", "key": "k"}]}},
            PLACE | {"type": "table", "options": {"devices": ["d", "e"]}},
        ]
    )
    template = with_device(widgets, "d", PLACEHOLDER)
    assert [device for each in template for device, _ in shown_by(each)] == ["$device", "$device", "e", "$device", "e"]
    assert template[0]["options"]["params"] == {"device": "d", "devices": ["d"]}
    assert with_device(template, PLACEHOLDER, "d") == widgets
    assert check(template) == template


@given(
    st.lists(
        st.builds(
            Capability,
            st.sampled_from([RELAY, SWITCH, METER, SENSOR]),
            st.sampled_from(["humidity", "temperature", "relay_1", "v0", "v12", "totalLiters"]) | st.text(min_size=1),
        ),
        max_size=60,
        unique_by=lambda each: each.key,
    ),
    st.sampled_from(["native", "thingsnxt"]),
)
def test_whatever_a_device_can_do_it_gets_a_board(capabilities: list[Capability], contract: str) -> None:
    capabilities = [each for each in capabilities if len(each.key) <= 256]
    try:
        found = widgets_for("d", contract, capabilities, {each.key: 50 for each in capabilities})
    except Invalid as error:
        # Half a hundred meters are more than a board has room for.
        assert error.errors[0].field == "widgets"
        return
    taken: set[tuple[int, int]] = set()
    for each in found:
        cells = {(each["x"] + dx, each["y"] + dy) for dx in range(each["w"]) for dy in range(each["h"])}
        assert not cells & taken
        taken |= cells
    assert found[0]["type"] == "status"
