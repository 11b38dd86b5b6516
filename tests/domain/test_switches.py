"""By hand or by timetable: the table of contract alchemy 4.2, in plain terms."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.switches import MANUAL, NONE, TIMETABLE, Request, Switch, derived, not_applied, read_switch

maybe = st.sampled_from([True, False, None])
ON, OFF = Switch(True, True), Switch(False, False)


@pytest.mark.parametrize(
    ("mode", "request_", "stored", "expected"),
    [
        # The acceptance checks of the contract.
        (MANUAL, Request(nested=True), OFF, ON),
        (MANUAL, Request(nested=False), ON, OFF),
        (MANUAL, Request(switch=False), ON, OFF),
        (TIMETABLE, Request(state=True), OFF, ON),
        (MANUAL, Request(state=False), ON, OFF),
        # Which one leads.
        (MANUAL, Request(state=False, switch=True), OFF, ON),
        (TIMETABLE, Request(state=False, switch=True), ON, OFF),
        (NONE, Request(state=False, switch=True), ON, OFF),
        # What counts when the leading one is absent.
        (TIMETABLE, Request(switch=True), OFF, ON),
        (NONE, Request(switch=True), OFF, ON),
        (NONE, Request(nested=True), OFF, ON),
        # The top wins over the nested one.
        (MANUAL, Request(switch=False, nested=True), OFF, OFF),
        (NONE, Request(switch=True, nested=False), OFF, ON),
        # An echo beside a state says nothing, a change does.
        (MANUAL, Request(state=True, nested=False), OFF, ON),
        (MANUAL, Request(state=False, nested=True), ON, OFF),
        (MANUAL, Request(state=False, nested=True), OFF, ON),
        (MANUAL, Request(nested=False), Switch(True, False), OFF),
        # A nested one never leads by timetable.
        (TIMETABLE, Request(nested=True), OFF, OFF),
        (TIMETABLE, Request(state=False, nested=True), OFF, OFF),
        # Nothing said: the state stays and the switch agrees.
        (MANUAL, Request(), Switch(True, None), ON),
        (TIMETABLE, Request(), Switch(False, True), OFF),
        (MANUAL, Request(), Switch(None, True), Switch(None, True)),
    ],
)
def test_what_leads(mode: str, request_: Request, stored: Switch, expected: Switch) -> None:
    assert derived(mode, stored, request_) == expected


@given(
    st.sampled_from([MANUAL, TIMETABLE, NONE]), st.builds(Switch, maybe, maybe), st.builds(Request, maybe, maybe, maybe)
)
def test_after_every_request_state_and_switch_agree(mode: str, stored: Switch, request: Request) -> None:
    after = derived(mode, stored, request)
    if after.state != after.switch:
        assert after == stored and stored.state is None and request.state is None and request.switch is None
    # To send what came back changes nothing.
    assert derived(mode, after, Request(nested=after.switch)) == after or after.state is None


def test_what_was_derived_is_stable_for_every_input() -> None:
    for mode, state, switch in product((MANUAL, TIMETABLE, NONE), (True, False), (True, False)):
        after = derived(mode, OFF, Request(state, switch))
        assert derived(mode, after, Request()) == after


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("activo", True), (" ON ", True), ("true", True), (True, True), (1, True), (1.0, True),
        ("inactivo", False), ("off", False), ("False", False), (False, False), (0, False),
        ("1", None), ("", None), ("maybe", None), (2, None), (None, None), ([], None), ({}, None), (float("nan"), None),
    ],
)  # fmt: skip
def test_words_and_numbers_that_mean_on_or_off(value: object, expected: bool | None) -> None:
    assert read_switch(value, {"activo", "on", "true"}, {"inactivo", "off", "false"}) is expected


def test_a_switch_is_not_applied_after_three_polls() -> None:
    stored = Switch(state=False, switch=True)
    assert not not_applied(stored, 1_000, 10_000, 3_000)
    assert not_applied(stored, 1_000, 10_001, 3_000)
    assert not not_applied(stored, 0, 10_001, 3_000)
    assert not not_applied(Switch(True, True), 1_000, 99_999, 3_000)
    assert not not_applied(Switch(True, None), 1_000, 99_999, 3_000)
