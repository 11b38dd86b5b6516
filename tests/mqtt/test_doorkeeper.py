from pathlib import Path
from typing import Any

import pytest

from relevo import dialects
from relevo.clock import ManualClock
from relevo.domain.devices import Registry
from relevo.domain.events import DeviceRegistered
from relevo.domain.keyring import Keyring
from relevo.mqtt.doorkeeper import Doorkeeper, Principal, Refusal
from relevo.settings import load
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import Connect

KEY = b"a-long-random-key"
PEPPER = b"pepper"
HERE, THERE = "192.168.1.20", "203.0.113.9"


@pytest.fixture
def asked() -> list[tuple[str, str]]:
    """Which passwords of people were checked."""
    return []


@pytest.fixture
def keeper(tmp_path: Path, asked: list[tuple[str, str]]) -> Any:
    def make(**options: Any) -> Doorkeeper:
        registry = Registry()
        keyring = Keyring(registry, PEPPER)
        for device, contract, key in (("lamp", "native", KEY), ("keyless", "native", b""), ("m1", "hidrometro", KEY)):
            registry.apply(
                DeviceRegistered(device, contract, device.upper(), device, "t", 0, keyring.hash(key) if key else "")
            )

        async def check(name: str, password: str, address: str) -> bool:
            asked.append((name, password))
            return (name, password) == ("admin", "right")

        return Doorkeeper(
            load({"data": tmp_path, **options}, {}), registry, keyring, dialects.load(), ManualClock(), check
        )

    return make


def connect(username: str | None = None, password: bytes | None = None) -> Connect:
    return Connect(4, "c", True, 0, username, password, None)


async def verdict(keeper: Doorkeeper, request: Connect, address: str = HERE) -> Principal | Refusal:
    found = keeper.verdict(request, address)
    return found if isinstance(found, Principal | Refusal) else await found


async def test_a_device_with_its_key_gets_the_topics_of_its_contract_and_of_no_other_device(keeper: Any) -> None:
    lamp = await verdict(keeper(), connect("lamp", KEY), THERE)
    assert isinstance(lamp, Principal)
    assert lamp.device == "lamp"
    assert lamp.may_publish("relevo/LAMP/telemetry")
    assert lamp.may_subscribe("relevo/LAMP/command")
    for topic in ("relevo/LAMP/command", "relevo/other/telemetry", "hidrometro/dados", "x", "$SYS/x"):
        assert not lamp.may_publish(topic), topic
    for filter_ in ("#", "relevo/#", "relevo/+/command", "relevo/LAMP/#", "relevo/LAMP/telemetry", "$SYS/#"):
        assert not lamp.may_subscribe(filter_), filter_


async def test_a_meter_may_send_readings_and_hear_commands_and_not_the_reverse(keeper: Any) -> None:
    meter = await verdict(keeper(), connect("m1", KEY))
    assert isinstance(meter, Principal)
    assert meter.may_publish("hidrometro/dados")
    assert meter.may_subscribe("hidrometro/cmd")
    assert not meter.may_publish("hidrometro/cmd")
    assert not meter.may_subscribe("hidrometro/dados")
    assert not meter.may_publish("relevo/M1/telemetry")


@pytest.mark.parametrize("password", [None, b"", b"wrong", KEY + b"x", Keyring(Registry(), PEPPER).hash(KEY).encode()])
@pytest.mark.parametrize("open_door", [False, True])
async def test_a_device_that_has_a_key_never_enters_without_it(
    keeper: Any, asked: list[Any], password: bytes | None, open_door: bool
) -> None:
    refusal = await verdict(keeper(anonymous_mqtt=open_door), connect("lamp", password))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.reason, refusal.device) == (
        Reason.BAD_USER_NAME_OR_PASSWORD,
        "bad_credentials",
        "lamp",
    )
    assert asked == []


@pytest.mark.parametrize(
    ("request_", "reason", "code"),
    [
        (connect(), "anonymous_closed", Reason.NOT_AUTHORIZED),
        (connect("stranger"), "unknown_device", Reason.BAD_USER_NAME_OR_PASSWORD),
        (connect("stranger", b"x"), "unknown_device", Reason.BAD_USER_NAME_OR_PASSWORD),
        (connect("keyless", b"x"), "unknown_device", Reason.BAD_USER_NAME_OR_PASSWORD),
        (connect("admin", b"wrong"), "unknown_device", Reason.BAD_USER_NAME_OR_PASSWORD),
        (connect("admin", b"\xff\xfe"), "unknown_device", Reason.BAD_USER_NAME_OR_PASSWORD),
    ],
)
async def test_strangers_stay_outside_while_the_door_is_closed(
    keeper: Any, request_: Connect, reason: str, code: Reason
) -> None:
    refusal = await verdict(keeper(), request_)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.code) == (reason, code)
    # The right of a password is not told by the words of the refusal.
    assert "wrong" not in refusal.detail


@pytest.mark.parametrize("request_", [connect(), connect("stranger"), connect("stranger", b"x"), connect("keyless")])
async def test_an_open_door_lets_strangers_of_private_networks_use_the_contracts_topics(
    keeper: Any, request_: Connect
) -> None:
    principal = await verdict(keeper(anonymous_mqtt=True), request_)
    assert isinstance(principal, Principal)
    assert principal.device == ""
    assert principal.may_publish("relevo/any/telemetry")
    assert principal.may_publish("hidrometro/dados")
    assert principal.may_subscribe("relevo/+/command")
    assert not principal.may_publish("home/kitchen")
    assert not principal.may_subscribe("#")
    assert not principal.may_subscribe("$SYS/#")


async def test_an_open_door_is_closed_to_the_world(keeper: Any) -> None:
    refusal = await verdict(keeper(anonymous_mqtt=True), connect(), THERE)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "anonymous_not_private"


async def test_the_topics_of_strangers_can_be_chosen(keeper: Any) -> None:
    principal = await verdict(keeper(anonymous_mqtt=True, anonymous_topics=["home/#"]), connect())
    assert isinstance(principal, Principal)
    assert principal.may_publish("home/kitchen")
    assert not principal.may_publish("relevo/any/telemetry")


async def test_an_administrator_may_do_everything_but_forge_what_the_server_says(keeper: Any, asked: list[Any]) -> None:
    person = await verdict(keeper(), connect("admin", b"right"), THERE)
    assert isinstance(person, Principal)
    assert asked == [("admin", "right")]
    assert person.may_publish("relevo/any/command")
    assert person.may_subscribe("#")
    assert person.may_subscribe("$SYS/#")
    assert not person.may_publish("$SYS/broker/load")


async def test_a_device_named_like_a_person_is_a_device(tmp_path: Path) -> None:
    registry = Registry()
    keyring = Keyring(registry, PEPPER)
    registry.apply(DeviceRegistered("admin", "native", "admin", "admin", "t", 0, keyring.hash(KEY)))

    async def check(name: str, password: str, address: str) -> bool:
        raise AssertionError("a device's key is no person's password")

    keeper = Doorkeeper(load({"data": tmp_path}, {}), registry, keyring, dialects.load(), ManualClock(), check)
    assert isinstance(await verdict(keeper, connect("admin", b"right")), Refusal)
    assert isinstance(await verdict(keeper, connect("admin", KEY)), Principal)
