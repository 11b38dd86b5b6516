"""The shape of what schedules and rules do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.actions import check_action

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def command(**fields: Any) -> dict[str, Any]:
    return {"command": {"device": "lamp", "name": "on", **fields}}


def to(selection: Any) -> dict[str, Any]:
    return {"command": {"selection": selection, "name": "on"}}


@pytest.mark.parametrize(
    "action",
    [
        command(),
        command(params={"level": 3, "colour": [1, 2, 3]}, ttl=60),
        command(ttl=None),
        to({"tags": ["garden", "wet"], "site": "farm"}),
        to({"devices": ["a", "b"]}),
        to({"type": "lamp"}),
        {"desired": {"device": "lamp", "values": {"level": 3, "old": None}}},
        {"desired": {"selection": {"tags": ["garden"]}, "values": {"on": True}}},
    ],
)
def test_commands_to_a_device_or_a_selection_are_actions(action: dict[str, Any]) -> None:
    assert check_action(action) == []


@pytest.mark.parametrize(
    ("action", "field", "said"),
    [
        (None, "action", "must be"),
        ({}, "action", "must be"),
        ({"command": {}, "mail": {}}, "action", "must be"),
        ({"command": []}, "action.command", "object"),
        ({"command": {"name": "on"}}, "action.command", "either device or selection"),
        (command(selection={"tags": ["a"]}), "action.command", "either device or selection"),
        (command(device="a/b"), "action.command.device", "1 to 64"),
        (command(device=7), "action.command.device", "1 to 64"),
        (command(name=""), "action.command.name", "1 to 64"),
        (command(name="a\nb"), "action.command.name", "printable"),
        (command(name=5), "action.command.name", "1 to 64"),
        (command(params=[1]), "action.command.params", "object"),
        (command(params={"a": float("nan")}), "action.command.params", "finite"),
        (command(params={str(n): n for n in range(65)}), "action.command.params", "64 entries"),
        (command(ttl=0), "action.command.ttl", "1 to 2592000 seconds"),
        (command(ttl=float("nan")), "action.command.ttl", "seconds"),
        (command(ttl=True), "action.command.ttl", "seconds"),
        (command(ttl="60"), "action.command.ttl", "seconds"),
        (command(tll=60), "action.command.tll", "is not known, only device"),
        (to({}), "action.command.selection", "needs devices, tags, type or site"),
        (to("all"), "action.command.selection", "object"),
        (to({"tags": "garden"}), "action.command.selection.tags", "list of texts"),
        (to({"devices": ["a b"]}), "action.command.selection.devices", "1 to 64"),
        (to({"devices": ["a"] * 257}), "action.command.selection.devices", "limit is 256"),
        (to({"type": 5}), "action.command.selection.type", "text"),
        (to({"tag": ["a"]}), "action.command.selection.tag", "is not known, only devices"),
    ],
)
def test_an_error_names_the_field_and_the_limit(action: Any, field: str, said: str) -> None:
    found = {wrong.field: wrong.message for wrong in check_action(action)}
    assert said in found[field]


@given(
    json_values | st.fixed_dictionaries({"command": json_values | st.fixed_dictionaries({"selection": json_values})})
)
def test_no_document_is_too_strange_to_be_answered(document: Any) -> None:
    for wrong in check_action(document):
        assert wrong.field.startswith("action") and wrong.message
