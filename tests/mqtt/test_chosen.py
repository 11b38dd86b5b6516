"""A storm of boards with chosen passwords costs Argon2id once each, and never lets a wrong one in."""

import asyncio

import pytest

from relevo.domain.credentials import Credential
from relevo.domain.devices import Registry
from relevo.domain.keyring import Keyring
from relevo.errors import TooMany
from relevo.mqtt.chosen import ChosenPasswords


class Slow:
    """Stands for Argon2id: knows which password belongs to which hash, and counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def fits(self, password: str, password_hash: str) -> bool:
        self.asked.append((password, password_hash))
        await self.gate.wait()
        return password_hash == f"argon:{password}"


def credential(id_: str = "c1", password: str = "right") -> Credential:
    return Credential(id_, "lamp", "password", f"argon:{password}", 0, username=id_)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def chosen(slow: Slow) -> ChosenPasswords:
    return ChosenPasswords(Keyring(Registry(), b"pepper"), slow.fits, remembered=3)


async def test_a_password_that_fitted_is_not_checked_again(slow: Slow, chosen: ChosenPasswords) -> None:
    one = credential()
    assert not chosen.remembers(one, b"right")
    assert await chosen.fit(one, b"right")
    assert all(chosen.remembers(one, b"right") for _ in range(1_000))
    assert len(slow.asked) == 1


async def test_a_wrong_password_is_never_remembered(slow: Slow, chosen: ChosenPasswords) -> None:
    one = credential()
    assert not await chosen.fit(one, b"wrong")
    assert not chosen.remembers(one, b"wrong")
    assert await chosen.fit(one, b"right")
    assert not chosen.remembers(one, b"wrong")
    assert not chosen.remembers(one, b"right\0")


async def test_a_new_password_of_the_same_credential_makes_the_old_one_unknown(chosen: ChosenPasswords) -> None:
    assert await chosen.fit(credential(), b"right")
    assert not chosen.remembers(credential(password="other"), b"right")


async def test_the_password_of_one_credential_is_not_another_ones(chosen: ChosenPasswords) -> None:
    assert await chosen.fit(credential("c1"), b"right")
    assert not chosen.remembers(credential("c2"), b"right")


async def test_what_is_remembered_is_bounded_and_the_least_used_goes_first(chosen: ChosenPasswords) -> None:
    several = [credential(f"c{n}") for n in range(4)]
    for one in several[:3]:
        await chosen.fit(one, b"right")
    assert chosen.remembers(several[0], b"right")
    await chosen.fit(several[3], b"right")
    assert [chosen.remembers(one, b"right") for one in several] == [True, False, True, True]


async def test_too_many_at_once_are_told_to_come_again(slow: Slow, chosen: ChosenPasswords) -> None:
    slow.gate.clear()
    waiting = [asyncio.create_task(chosen.fit(credential(f"c{n}"), b"right")) for n in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany):
        await chosen.fit(credential("late"), b"right")
    slow.gate.set()
    assert all(await asyncio.gather(*waiting))
    assert await chosen.fit(credential("late"), b"right")


async def test_bytes_that_are_no_text_are_no_password(slow: Slow, chosen: ChosenPasswords) -> None:
    assert not await chosen.fit(credential(), b"\xff\xfe")
    assert slow.asked == []
