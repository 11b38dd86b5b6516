"""The password that the first start made up: replaced without saying it, once, by who came by the link of the start."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.directory import PASSWORD_FILE
from relevo.settings import load
from tests.http.problems import problem

NEW = {"new": "another-long-enough-one"}


@contextlib.asynccontextmanager
async def running(data: Path, clock: ManualClock, **options: str) -> AsyncIterator[tuple[Application, str]]:
    free = {"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0"}
    one = Application(load({"data": data, **free, **options}, {}), clock)
    await one.start()
    try:
        yield one, f"http://127.0.0.1:{one.http_port}"
    finally:
        await one.stop()


@contextlib.asynccontextmanager
async def browser(address: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False, timeout=20) as client:
        yield client


async def generated(client: httpx.AsyncClient) -> bool:
    found: bool = (await client.get("/api/v1/me")).json()["password_generated"]
    return found


async def sign_in(client: httpx.AsyncClient, password: str) -> None:
    answer = await client.post("/api/v1/auth/login", json={"username": "admin", "password": password})
    assert answer.status_code == 200, answer.text


async def test_who_came_by_the_link_chooses_a_password_once(tmp_path: Path) -> None:
    file = tmp_path / PASSWORD_FILE
    async with (
        running(tmp_path, ManualClock()) as (app, address),
        browser(address) as client,
        browser(address) as other,
    ):
        await sign_in(other, file.read_text().strip())
        assert await generated(other)
        assert (await client.get(f"/ui/enter/{app.new_link()}")).status_code == 302
        assert await generated(client)
        # What is too weak spends nothing.
        assert "new" in (await client.post("/api/v1/me/password", json={"new": "short"})).text
        assert file.exists()
        assert (await client.post("/api/v1/me/password", json=NEW)).status_code == 204
        assert not file.exists()
        assert not await generated(client)
        # Every other session ended.
        assert (await other.get("/api/v1/me")).status_code == 401
        refused = problem(await client.post("/api/v1/me/password", json={"new": "a-third-long-one"}), 422)
        assert refused["errors"][0]["field"] == "current"
        await sign_in(other, NEW["new"])
        third = {"current": NEW["new"], "new": "the-third-of-them"}
        assert (await other.post("/api/v1/me/password", json=third)).is_success


async def test_an_ordinary_session_has_to_say_the_password(tmp_path: Path) -> None:
    file = tmp_path / PASSWORD_FILE
    async with running(tmp_path, ManualClock()) as (_, address), browser(address) as client:
        password = file.read_text().strip()
        await sign_in(client, password)
        assert problem(await client.post("/api/v1/me/password", json=NEW), 422)["reason"] == "password_missing"
        assert problem(await client.post("/api/v1/me/password", json=NEW | {"current": ""}), 422)["reason"] == (
            "password_wrong"
        )
        assert await generated(client)
        assert (await client.post("/api/v1/me/password", json=NEW | {"current": password})).status_code == 204
        assert not await generated(client)
        assert not file.exists()


async def test_a_session_that_came_by_a_link_long_ago_has_to_say_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running(tmp_path, clock) as (app, address), browser(address) as client:
        await client.get(f"/ui/enter/{app.new_link()}")
        clock.advance(901)
        assert problem(await client.post("/api/v1/me/password", json=NEW), 422)["reason"] == "password_missing"
        assert await generated(client)


async def test_a_key_chooses_no_password(tmp_path: Path) -> None:
    async with running(tmp_path, ManualClock()) as (app, address), browser(address) as client:
        await client.get(f"/ui/enter/{app.new_link()}")
        key = (await client.post("/api/v1/keys", json={"name": "k", "scopes": ["manage"]})).json()["key"]
        async with httpx.AsyncClient(base_url=address, trust_env=False) as program:
            program.headers["Authorization"] = f"Bearer {key}"
            problem(await program.post("/api/v1/me/password", json=NEW), 403)


async def test_a_given_password_is_not_a_generated_one(tmp_path: Path) -> None:
    """Nor does a file count that an earlier database left."""
    (tmp_path / PASSWORD_FILE).write_text("of another database\n")
    async with (
        running(tmp_path, ManualClock(), admin_password="a-given-long-one") as (app, address),
        browser(address) as client,
    ):
        await client.get(f"/ui/enter/{app.new_link()}")
        assert not await generated(client)
        assert not (tmp_path / PASSWORD_FILE).exists()
        assert problem(await client.post("/api/v1/me/password", json=NEW), 422)["reason"] == "password_missing"


async def test_it_stays_generated_over_a_restart_until_somebody_changes_it(tmp_path: Path) -> None:
    file, clock = tmp_path / PASSWORD_FILE, ManualClock()
    async with running(tmp_path, clock):
        pass
    async with running(tmp_path, clock) as (app, address), browser(address) as client:
        await client.get(f"/ui/enter/{app.new_link()}")
        assert await generated(client)
        assert file.exists()
        clock.advance(1)
        assert (await client.patch("/api/v1/users/admin", json={"password": "of-an-administrator"})).is_success
        assert not file.exists()
    # Put back by hand, it says nothing true.
    file.write_text("wrong\n")
    async with running(tmp_path, clock) as (app, address), browser(address) as client:
        assert not file.exists()
        await client.get(f"/ui/enter/{app.new_link()}")
        assert not await generated(client)
