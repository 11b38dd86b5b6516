"""What the doorkeeper makes of each proof, without a socket: keys, user names, certificates of two authorities."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relevo import dialects
from relevo.clock import ManualClock
from relevo.domain.credentials import Credential
from relevo.domain.devices import Registry
from relevo.domain.events import DeviceRegistered, DeviceRemoved
from relevo.domain.keyring import Keyring
from relevo.domain.records import Dropped, Kept
from relevo.errors import TooMany
from relevo.mqtt.chosen import ChosenPasswords
from relevo.mqtt.doorkeeper import Doorkeeper, Principal, Refusal
from relevo.mqtt.tls import Certificate
from relevo.settings import load
from relevo.wire.mqtt_errors import Reason
from relevo.wire.mqtt_packets import Connect

HERE = "192.168.1.20"
OWN, FOREIGN = "Relevo authority 1234", "Some other authority"
PRINT = "ab" * 32


class Door:
    """A doorkeeper with two devices, a clock and passwords that are checked when ``gate`` is open."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.clock = ManualClock()
        self.registry = Registry()
        self.ring = Keyring(self.registry, b"pepper")
        for name in ("lamp", "pump"):
            self.register(name, f"key of {name}".encode())
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy = False
        self.persons: list[str] = []
        self.keeper = Doorkeeper(
            load({"data": tmp_path, **options}, {}),
            self.registry,
            self.ring,
            dialects.load(),
            self.clock,
            self.is_person,
            ChosenPasswords(self.ring, self.fits),
            lambda: OWN,
        )

    def register(self, name: str, key: bytes = b"") -> None:
        self.registry.apply(DeviceRegistered(name, "native", name, name, "t", 0, self.ring.hash(key) if key else ""))

    async def is_person(self, name: str, password: str, address: str) -> bool:
        self.persons.append(name)
        return False

    async def fits(self, password: str, kept: str) -> bool:
        if self.busy:
            raise TooMany("too many", 2)
        await self.gate.wait()
        return kept == f"argon:{password}"

    def give(self, device: str, kind: str, kept: str, username: str = "", hours: int = 0) -> Credential:
        until = self.clock.now_ms() + hours * 3_600_000 if hours else 0
        one = Credential(f"{device}-{kind}-{len(self.ring.all())}", device, kind, kept, 0, until, username)
        self.ring.apply(Kept(one))
        return one

    async def ask(
        self, username: str | None = None, password: bytes | None = None, certificate: Certificate | None = None
    ) -> Principal | Refusal:
        connect = Connect(4, "c", True, 0, username, password, None)
        found = self.keeper.verdict(connect, HERE, certificate)
        return found if isinstance(found, Principal | Refusal) else await found


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def refusal(found: Principal | Refusal) -> tuple[str, str]:
    assert isinstance(found, Refusal), found
    return found.reason, found.device


async def test_a_principal_remembers_which_credential_let_it_in(door: Door) -> None:
    key = door.give("lamp", "key", door.ring.hash(b"second"))
    name = door.give("lamp", "password", door.ring.hash(b"generated"), "kitchen")
    chosen = door.give("lamp", "password", "argon:chosen", "hall")
    paper = door.give("lamp", "certificate", PRINT)
    shown = [
        (await door.ask("lamp", b"key of lamp"), door.ring.hash(b"key of lamp")),
        (await door.ask("lamp", b"second"), key.secret_hash),
        (await door.ask("kitchen", b"generated"), name.secret_hash),
        (await door.ask("hall", b"chosen"), chosen.secret_hash),
        (await door.ask(certificate=Certificate("lamp", PRINT, OWN)), paper.secret_hash),
    ]
    for found, kept in shown:
        assert isinstance(found, Principal)
        assert (found.device, found.credential) == ("lamp", kept)
        assert found.may_publish("relevo/lamp/telemetry")
        assert not found.may_publish("relevo/pump/telemetry")
        assert not found.may_subscribe("relevo/+/command")


async def test_a_chosen_password_is_checked_once_and_then_known(door: Door) -> None:
    door.give("lamp", "password", "argon:chosen", "hall")
    assert isinstance(await door.ask("hall", b"chosen"), Principal)
    door.gate.clear()
    connect = Connect(4, "c", True, 0, "hall", b"chosen", None)
    assert isinstance(door.keeper.verdict(connect, HERE), Principal), "at once, without waiting"


async def test_a_password_that_is_revoked_while_it_is_checked_lets_nobody_in(door: Door) -> None:
    one = door.give("lamp", "password", "argon:chosen", "hall")
    door.gate.clear()
    asked = asyncio.ensure_future(door.ask("hall", b"chosen"))
    await asyncio.sleep(0)
    door.ring.apply(Dropped(Credential, one.id))
    door.gate.set()
    assert refusal(await asked) == ("bad_credentials", "lamp")


async def test_when_too_many_passwords_are_checked_the_server_says_that_it_is_busy(door: Door) -> None:
    door.give("lamp", "password", "argon:chosen", "hall")
    door.busy = True
    found = await door.ask("hall", b"chosen")
    assert refusal(found) == ("passwords_busy", "lamp")
    assert isinstance(found, Refusal)
    assert found.code is Reason.SERVER_BUSY


@pytest.mark.parametrize("username", ["generated", "chosen"])
async def test_expired_wrong_and_revoked_are_told_apart(door: Door, username: str) -> None:
    kept = door.ring.hash(b"good") if username == "generated" else "argon:good"
    one = door.give("lamp", "password", kept, username, hours=1)
    assert isinstance(await door.ask(username, b"good"), Principal)
    for wrong in (b"wrong", b"", b"\xff", None, kept.encode()):
        assert refusal(await door.ask(username, wrong)) == ("bad_credentials", "lamp")
    door.clock.advance(3600)
    assert refusal(await door.ask(username, b"good")) == ("credential_expired", "lamp")
    door.ring.apply(Dropped(Credential, one.id))
    assert refusal(await door.ask(username, b"good")) == ("bad_credentials", "lamp")


async def test_a_device_that_has_only_other_credentials_still_has_to_prove_itself(tmp_path: Path) -> None:
    door = Door(tmp_path, anonymous_mqtt=True)
    door.register("keyless")
    assert isinstance(await door.ask("keyless"), Principal), "a legacy board on a private network"
    one = door.give("keyless", "password", door.ring.hash(b"p"), "some name")
    assert refusal(await door.ask("keyless")) == ("bad_credentials", "keyless")
    door.ring.apply(Dropped(Credential, one.id))
    # What was revoked does not become a stranger that the open door lets in.
    assert refusal(await door.ask("some name", b"p")) == ("bad_credentials", "keyless")


async def test_a_device_that_later_gets_the_id_of_a_user_name_shuts_nobody_out(door: Door) -> None:
    door.give("lamp", "password", door.ring.hash(b"generated"), "newcomer")
    door.register("newcomer", b"its own key")
    first, second = await door.ask("newcomer", b"generated"), await door.ask("newcomer", b"its own key")
    assert isinstance(first, Principal)
    assert isinstance(second, Principal)
    assert (first.device, second.device) == ("lamp", "newcomer")
    assert refusal(await door.ask("newcomer", b"neither")) == ("bad_credentials", "lamp")


async def test_a_credential_whose_device_is_gone_opens_nothing(door: Door) -> None:
    door.give("lamp", "password", door.ring.hash(b"p"), "kitchen")
    door.give("lamp", "certificate", PRINT)
    door.registry.apply(DeviceRemoved("lamp", 0))
    assert refusal(await door.ask("kitchen", b"p")) == ("unknown_device", "")
    assert refusal(await door.ask(certificate=Certificate("lamp", PRINT, OWN))) == ("certificate_unknown", "")


async def test_an_own_certificate_without_its_record_was_revoked_whatever_it_says(door: Door) -> None:
    assert refusal(await door.ask(certificate=Certificate("lamp", PRINT, OWN))) == ("certificate_revoked", "lamp")
    assert refusal(await door.ask(certificate=Certificate("nobody", PRINT, OWN))) == ("certificate_revoked", "")
    # One of an authority that ours took the place of is none of a foreign one.
    assert refusal(await door.ask(certificate=Certificate("lamp", PRINT, "Relevo authority 9"))) == (
        "certificate_revoked",
        "lamp",
    )


async def test_an_expired_certificate_is_named(door: Door) -> None:
    door.give("lamp", "certificate", PRINT, hours=1)
    door.clock.advance(3600)
    assert refusal(await door.ask(certificate=Certificate("lamp", PRINT, OWN))) == ("credential_expired", "lamp")


async def test_the_record_says_whose_certificate_it_is_and_not_its_text(door: Door) -> None:
    door.give("lamp", "certificate", PRINT)
    found = await door.ask(certificate=Certificate("pump", PRINT, OWN))
    assert isinstance(found, Principal)
    assert found.device == "lamp"
    assert refusal(await door.ask("pump", certificate=Certificate("lamp", PRINT, OWN))) == (
        "certificate_of_another",
        "lamp",
    )


async def test_a_foreign_authority_names_devices_and_ours_still_revokes(tmp_path: Path) -> None:
    file = tmp_path / "foreign.pem"
    file.write_text("never read here")
    door = Door(tmp_path, tls_client_ca=file)
    found = await door.ask(certificate=Certificate("lamp", PRINT, FOREIGN))
    assert isinstance(found, Principal)
    assert (found.device, found.credential) == ("lamp", "")
    assert refusal(await door.ask(certificate=Certificate("lamp", PRINT, OWN))) == ("certificate_revoked", "lamp")
    assert refusal(await door.ask(certificate=Certificate("nobody", PRINT, FOREIGN))) == ("certificate_unknown", "")


async def test_a_certificate_is_never_asked_for_a_persons_password(door: Door) -> None:
    await door.ask("lamp", b"x", Certificate("lamp", PRINT, OWN))
    assert door.persons == []
