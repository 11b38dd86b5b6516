"""A new signing key signs nobody out, whatever happens to the server, and old ones go when nothing needs them."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.domain.people import People
from relevo.errors import Conflict
from relevo.http.tokens import LONGEST_ACCESS_S, SIGNING_KEYS, SigningKeys, Tokens
from relevo.jobs.retention import Retention
from relevo.settings import load
from relevo.store.db import FILE_NAME
from tests.cli.running import relevo
from tests.running import ADMIN_PASSWORD, RunningServer

PATH = "/api/v1/system/signing-keys"
ME = "/api/v1/me"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed_in(server: RunningServer) -> tuple[str, str]:
    """An access token and its refresh token."""
    answer = httpx.post(
        f"{server.http}/api/v1/auth/login", json={"username": "admin", "password": ADMIN_PASSWORD}, trust_env=False
    ).json()
    return server.canaries.plant(answer["access_token"]), server.canaries.plant(answer["refresh_token"])


def status(server: RunningServer, token: str) -> int:
    return httpx.get(server.http + ME, headers=bearer(token), trust_env=False).status_code


def key_of(token: str) -> str:
    found: str = jwt.get_unverified_header(token)["kid"]
    return found


def kept(data: Path) -> SigningKeys:
    connection = sqlite3.connect(data / FILE_NAME)
    row = connection.execute("SELECT value FROM secrets WHERE name = ?", (SIGNING_KEYS,)).fetchone()
    connection.close()
    return SigningKeys.decode(bytes(row[0]))


def test_two_rotations_and_a_killed_server_sign_nobody_out(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        first, refresh = signed_in(server)
        cookie = {"relevo_session": server.cookie}
        rotated = server.api.post(PATH)
        assert rotated.status_code == 201
        assert rotated.json()["id"] != key_of(first)
        assert [key["id"] for key in rotated.json()["former"]] == [key_of(first)]
        # The answer is a fact: the key was on the disk before it.
        assert kept(server.data).newest.id == rotated.json()["id"]
        second, _ = signed_in(server)
        assert key_of(second) == rotated.json()["id"]
        again = server.api.post(PATH).json()
        third, _ = signed_in(server)
        assert [status(server, token) for token in (first, second, third)] == [200, 200, 200]
        server.kill()
        server.start()
        assert [status(server, token) for token in (first, second, third)] == [200, 200, 200]
        assert httpx.get(server.http + ME, cookies=cookie, trust_env=False).status_code == 200
        body = {"refresh_token": refresh}
        fresh = httpx.post(f"{server.http}/api/v1/auth/refresh", json=body, trust_env=False).json()["access_token"]
        server.canaries.plant(fresh)
        assert key_of(fresh) == again["id"]
        assert server.api.get(PATH).json() == again
        told = server.api.get("/api/v1/audit", params={"action": "signing_keys"}).json()["items"]
        assert [(one["by"], one["target"]) for one in told] == [("admin", again["id"]), ("admin", rotated.json()["id"])]
        for key in (kept(server.data).newest, *kept(server.data).former):
            assert key.value.hex() not in json.dumps([told, again, rotated.json()])


def test_many_rotations_at_once_forget_no_key_and_too_many_are_refused(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        token, _ = signed_in(server)
        head = bearer(token)

        def rotate(_: int) -> Any:
            return httpx.post(server.http + PATH, headers=head, trust_env=False, timeout=30)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(rotate, range(30)))
        made = sum(answer.status_code == 201 for answer in answers)
        refused = [answer for answer in answers if answer.status_code != 201]
        assert {answer.status_code for answer in refused} == {409}
        assert "wait until the oldest has ended" in refused[0].json()["detail"]
        held = kept(server.data)
        told = server.api.get("/api/v1/audit", params={"action": "signing_keys"}).json()["items"]
        assert {key_of(token), *(one["target"] for one in told)} == {held.newest.id, *(key.id for key in held.former)}
        assert len(told) == made == len(held.former)
        assert status(server, token) == 200


def test_only_administrators_rotate(server: RunningServer, anonymous: httpx.Client) -> None:
    assert anonymous.post(PATH).status_code == 401
    person = {"name": "rotator", "password": "a-long-enough-one", "role": "operator"}
    assert server.api.post("/api/v1/users", json=person).status_code == 201
    answer = anonymous.post("/api/v1/auth/login", json={"username": "rotator", "password": "a-long-enough-one"})
    head = bearer(answer.json()["access_token"])
    before = server.api.get(PATH).json()
    assert anonymous.post(PATH, headers=head).status_code == 403
    assert anonymous.get(PATH, headers=head).status_code == 403
    assert server.api.get(PATH).json() == before


def test_the_command_shows_and_rotates(server: RunningServer) -> None:
    before = server.api.get(PATH).json()["id"]
    shown = relevo("signing-keys", "show", "--data", str(server.data))
    assert (shown.returncode, f"{before}  signs" in shown.stdout) == (0, True), shown.stderr
    done = relevo("signing-keys", "rotate", "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    after = server.api.get(PATH).json()
    assert after["id"] != before
    assert f"{after['id']}  signs" in done.stdout
    assert f"{before}  needed until" in done.stdout
    assert relevo("signing-keys", "rotate", "--data", str(server.data / "none")).returncode == 1


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock) -> AsyncIterator[Application]:
    options = {"data": data, "http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": ADMIN_PASSWORD}
    one = Application(load(options, {}), clock)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def job(one: Application) -> Retention:
    assert one._retention is not None
    return one._retention


@pytest.mark.usefixtures("collector")
async def test_a_former_key_is_dropped_when_its_last_token_has_ended(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as one:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{one.http_port}", trust_env=False) as api:
            body = {"username": "admin", "password": ADMIN_PASSWORD}
            token = (await api.post("/api/v1/auth/login", json=body)).json()["access_token"]
            local = bearer(one.local_key())
            assert (await api.post(PATH, headers=local)).status_code == 201
            clock.advance(LONGEST_ACCESS_S / 2)
            # A second rotation does not shorten the first key's time.
            assert len((await api.post(PATH, headers=local)).json()["former"]) == 2
            clock.advance(LONGEST_ACCESS_S / 2 - 1)
            await job(one).look()
            await one.pipeline.drain(5)
            assert (await api.get(ME, headers=bearer(token))).status_code == 200
            assert len((await asyncio.to_thread(kept, tmp_path)).former) == 2
            clock.advance(1)
            assert (await api.get(ME, headers=bearer(token))).status_code == 401
            await job(one).look()
            await one.pipeline.drain(5)
            assert len((await asyncio.to_thread(kept, tmp_path)).former) == 1
            clock.advance(LONGEST_ACCESS_S)
            await job(one).look()
            await one.pipeline.drain(5)
            assert (await asyncio.to_thread(kept, tmp_path)).former == []
            await job(one).look()
            assert one.pipeline.waiting == 0


def test_signing_begins_with_a_new_key_only_after_its_commit() -> None:
    clock = ManualClock()
    tokens = Tokens(People(), SigningKeys.decode(SigningKeys.fresh()), clock.now_ms)
    before = tokens.signing_keys.newest
    key, change = tokens.rotate()
    assert tokens.signing_keys.newest == before
    later, second = tokens.rotate()
    # A commit that came to nothing leaves nothing out of the next one.
    tokens.apply(second)
    assert tokens.signing_keys.newest == later
    assert [one.id for one in tokens.signing_keys.former] == [key.id, before.id]
    tokens.apply(change)
    assert tokens.signing_keys.newest == key
    with pytest.raises(Conflict, match="wait until the oldest"):
        for _ in range(30):
            tokens.rotate()
