"""When the time of a credential is over: whoever came in with it goes, everybody else stays."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.credentials import Credential
from relevo.jobs.expiring import EVERY_S, KEPT_MS, ExpiringCredentials
from relevo.settings import load
from tests.conformance.raw import CONNACK_OK, Raw, connect

pytestmark = pytest.mark.usefixtures("collector")

GRACE_S = 24 * 3600


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock) -> AsyncIterator[Application]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    one = Application(load(options, {}), clock)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def job(one: Application) -> ExpiringCredentials:
    assert one._expiring is not None
    return one._expiring


async def come(one: Application, key: str, client: str) -> tuple[bytes, Raw]:
    raw = await asyncio.to_thread(Raw, one.mqtt_port, connect(client, user="lamp", password=key.encode()))
    return await asyncio.to_thread(raw.packet), raw


async def test_grace_by_a_clock_that_is_moved_by_hand(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as one:
        base, head = f"http://127.0.0.1:{one.http_port}", {"Authorization": f"Bearer {one.local_key()}"}
        async with httpx.AsyncClient(base_url=base, headers=head, trust_env=False) as api:
            old = (await api.post("/api/v1/devices", json={"id": "lamp"})).json()["key"]
            answer, with_old = await come(one, old, "old")
            assert answer == CONNACK_OK
            rotated = (await api.post("/api/v1/devices/lamp/credentials/key/rotate")).json()
            assert rotated["old_key_until"] is not None
            answer, with_new = await come(one, rotated["key"], "new")
            assert answer == CONNACK_OK
            job(one).look()
            clock.advance(GRACE_S - 1)
            job(one).look()
            await asyncio.to_thread(with_old.expect_silence)
            clock.advance(1)
            job(one).look()
            await asyncio.to_thread(with_old.expect_closed)
            await asyncio.to_thread(with_new.expect_silence)
            answer, again = await come(one, old, "again")
            assert answer == b"\x20\x02\x00\x04"
            listed = (await api.get("/api/v1/devices/lamp/credentials")).json()["items"]
            assert [(item["id"] == "key", item["expired"]) for item in listed] == [(True, False), (False, True)]
            # A month later nobody needs to be told apart any more.
            clock.advance(KEPT_MS / 1000)
            job(one).look()
            await one.pipeline.drain(5)
            listed = (await api.get("/api/v1/devices/lamp/credentials")).json()["items"]
            assert [item["id"] for item in listed] == ["key"]
            for raw in (with_old, with_new, again):
                raw.drop()


async def test_each_credential_is_ended_once_and_again_when_the_clock_was_set_back(tmp_path: Path) -> None:
    from relevo.domain.devices import Registry
    from relevo.domain.keyring import Keyring

    clock, ended = ManualClock(), list[str]()
    ring = Keyring(Registry(), b"pepper")
    ring.load(
        [Credential("a", "lamp", "key", "h1", 0, clock.now_ms() + 1_000), Credential("b", "door", "key", "h2", 0)]
    )
    looked = ExpiringCredentials(ring, None, clock, lambda device: ended.append(device) or 0)  # type: ignore[arg-type, func-returns-value]
    looked.look()
    clock.advance(1)
    looked.look()
    looked.look()
    assert ended == ["lamp"]
    clock.jump(-10)
    looked.look()
    clock.jump(10)
    looked.look()
    assert ended == ["lamp", "lamp"]


async def test_it_looks_by_itself_and_says_when_it_begins_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert EVERY_S <= 10
    async with running(tmp_path, ManualClock()):
        pass
    said = "".join(capsys.readouterr())
    assert "expiring_credentials_started" in said
    assert "expiring_credentials_ended" in said
