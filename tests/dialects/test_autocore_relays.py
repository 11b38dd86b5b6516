"""Relays of a board as desired and reported state (contract autocore, sections 4.1 to 4.3)."""

from typing import Any

import pytest

from relevo.dialects.autocore import dialect
from relevo.domain.events import DeviceAnswered, StateReported
from relevo.errors import Invalid

NOW = 1_767_225_600_000


@pytest.mark.parametrize(
    ("channel", "payload", "reported"),
    [
        ("status", b'{"status":"online","relay_states":[1,0]}', {"relay_1": True, "relay_2": False}),
        ("status", b'{"status":"online","relays":{"3":true}}', {"relay_3": True}),
        ("relays/state", b'{"channel":3,"state":true}', {"relay_3": True}),
        ("relays/state", b'{"channel":"3","state":true}', None),
        ("relays/state", b'{"channel":3,"state":"on"}', None),
        ("response", b'{"type":"relay_response","channel":2,"state":false}', {"relay_2": False}),
        ("response", b'{"type":"pong","channel":2,"state":false}', None),
    ],
)
def test_what_a_board_says_about_its_relays_is_reported(
    channel: str, payload: bytes, reported: dict[str, Any] | None
) -> None:
    address = dialect.address(f"autocore/devices/u1/{channel}")
    assert address is not None
    decoded = dialect.decode(address, payload, NOW, False)
    (event,) = [one for _, one in decoded.events if isinstance(one, StateReported | DeviceAnswered)]
    assert type(event) in dialect.reporting
    assert dialect.reported(event) == reported


def test_a_desired_relay_is_a_command_that_the_contract_knows() -> None:
    name, params = dialect.desired_order("relay_8", True, {"relay_channels": 8})
    assert dialect.order(name, params, {"relay_channels": 8}).params == {"channel": 8, "state": True}


@pytest.mark.parametrize(
    ("key", "value"),
    [("relay_9", True), ("relay_0", True), ("relay_01", True), ("lamp", True), ("relay_1", 1), ("relay_1", "on")],
)
def test_what_a_board_cannot_be_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(Invalid) as problem:
        dialect.desired_order(key, value, {"relay_channels": 8})
    assert problem.value.reason == "desired_unknown"
    assert [one.field for one in problem.value.errors] == [f"values.{key}"]
