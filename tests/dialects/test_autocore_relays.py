"""Relays of a board as desired and reported state (contract autocore, sections 4.1 to 4.3)."""

from typing import Any

import pytest

from relevo.dialects.autocore import dialect
from relevo.dialects.autocore.commands import relay_in
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
        ("relays/state", b'{"channel":3,"state":"on"}', {"relay_3": True}),
        ("relays/state", b'{"channel":3,"command":"off"}', {"relay_3": False}),
        ("relays/state", b'{"channels":{"1":1,"2":0}}', {"relay_1": True, "relay_2": False}),
        ("response", b'{"type":"relay_response","channel":2,"state":false}', {"relay_2": False}),
        ("response", b'{"type":"pong","channel":2,"state":false}', None),
        ("response", b'{"type":"status","data":{"relays":[1,0]}}', {"relay_1": True, "relay_2": False}),
        ("response", b'{"type":"status","data":{"relays":[7]}}', None),
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


def learn(attributes: dict[str, Any], channel: str, payload: str, doubts: int = 0) -> tuple[dict[str, Any], int]:
    address = dialect.address(f"autocore/devices/u1/{channel}")
    assert address is not None
    ((_, said),) = dialect.decode(address, payload.encode(), NOW, False).said
    return dialect.learned(attributes, said, doubts)


@pytest.mark.parametrize(
    ("before", "channel", "payload", "patch"),
    [
        ({}, "status", '{"relay_states":[0]}', {"speech": "old"}),
        ({}, "status", '{"relays":[0]}', {}),
        ({}, "status", '{"relay_states":[0],"protocol_version":"2.2.0"}', {"speech": "v2"}),
        ({"speech": "old"}, "relays/state", '{"protocol_version":"2.2.0","channel":1,"state":true}', {"speech": "v2"}),
        ({"speech": "v2"}, "response", '{"type":"pong"}', {"speech": "seed"}),
        ({}, "response", '{"type":"pong"}', {}),
        ({"speech": "v2"}, "status", '{"relay_states":[0]}', {"speech": "old"}),
        ({"speech": "seed"}, "status", '{"relay_states":[0]}', {"speech": "old"}),
        ({}, "announce", '{"device_type":"gateway"}', {"speech": "gateway"}),
        ({}, "announce", '{"type":"esp32_relay","relay_channels":8}', {"relay_channels": 8}),
        ({}, "status", '{"channels":4,"ip":"10.0.0.9"}', {"relay_channels": 4, "ip_address": "10.0.0.9"}),
        ({"relay_channels": 8}, "announce", '{"relay_channels":8}', {}),
        ({}, "announce", '{"relay_channels":99,"ip_address":7,"mac_address":"","capabilities":[1]}', {}),
        ({}, "status", '{"status":"offline","protocol_version":"2.2.0"}', {"speech": "v2"}),
        ({}, "telemetry", '{"t":{"value":1,"unit":"C"},"u":{"value":2}}', {"units": {"t": "C"}}),
        ({"units": {"t": "C"}}, "telemetry", '{"t":{"value":1,"unit":"C"}}', {}),
    ],
)
def test_what_a_board_is_follows_from_what_it_publishes(
    before: dict[str, Any], channel: str, payload: str, patch: dict[str, Any]
) -> None:
    assert learn(before, channel, payload)[0] == patch


def test_a_board_that_was_flashed_with_something_plain_is_believed_the_second_time() -> None:
    for speech in ("old", "v2"):
        assert learn({"speech": speech}, "announce", "{}") == ({}, 1)
        assert learn({"speech": speech}, "status", '{"uptime":1}', 1) == ({"speech": None}, 0)
    assert learn({"speech": "v2"}, "relays/state", '{"protocol_version":"2.2.0","channel":1,"state":true}', 1) == (
        {},
        0,
    )
    assert learn({"speech": "gateway"}, "status", '{"uptime":1}', 1) == ({}, 1)
    address = dialect.address("autocore/devices/u1/status")
    assert address is not None
    ((_, kept),) = dialect.decode(address, b'{"relay_states":[1]}', NOW, True).said
    assert dialect.learned({}, kept, 0) == ({}, 0)


@pytest.mark.parametrize(
    ("payload", "relay"),
    [
        ({"type": "relay", "channel": 3, "state": True}, (3, True)),
        ({"type": "relay", "channel": 3, "state": "on"}, None),
        ({"command": "relay_off", "channel": 0}, (1, False)),
        ({"command": "relay_on"}, None),
        ({"channel": 2, "command": "on", "state": False}, (2, True)),
        ({"channel": 2, "state": 0}, (2, False)),
        ({"channel": 2, "command": "toggle"}, (2, None)),
        ({"channel": "all", "command": "off"}, (0, False)),
        ({"channel": "2", "command": "off"}, None),
        ({"type": "ping"}, None),
        ({"command": "reboot"}, None),
    ],
)
def test_what_a_client_tells_a_board_about_a_relay_is_understood_in_every_dialect(
    payload: dict[str, Any], relay: tuple[int, bool | None] | None
) -> None:
    assert relay_in(payload) == relay


def test_a_board_asks_for_firmware_and_tells_of_it_below_its_own_root() -> None:
    root = "autocore/devices/u-1"
    publish, subscribe = dialect.device_filters("u-1")
    for channel, payload in (
        ("get", b'{"want":"manifest","version":"1.0.0","board":"relay"}'),
        ("state", b'{"release":"relay-1.1.0","state":"healthy"}'),
    ):
        address = dialect.address(f"{root}/update/{channel}")
        assert address is not None
        assert f"{root}/update/{channel}" in publish
        ((uuid, _),) = dialect.decode(address, payload, 0, False).updates
        assert uuid == "u-1"
        # A message that a broker kept is no question.
        assert dialect.decode(address, payload, 0, True).updates == []
        with pytest.raises(Invalid):
            dialect.decode(address, b"{}", 0, False)
    assert {f"{root}/update/manifest", f"{root}/update/image"} <= set(subscribe)
    assert dialect.update_topics("u-1") == (f"{root}/update/manifest", f"{root}/update/image")


def test_a_seed_board_is_told_to_look_and_older_ones_are_not() -> None:
    name, params = dialect.update_order("relay-1.1.0")
    assert dialect.order(name, params, {}).params == {"release": "relay-1.1.0"}
    for speech in ("old", "v2"):
        with pytest.raises(Invalid):
            dialect.order(name, params, {"speech": speech})
    for wrong in ({}, {"release": ""}, {"release": 1}, {"release": "x", "more": 1}):
        with pytest.raises(Invalid):
            dialect.order(name, wrong, {})
