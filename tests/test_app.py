"""The whole application inside this process: coming up in full or leaving nothing behind."""

import asyncio
import contextlib
import gc
import os
import socket
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relevo.app import Application
from relevo.clock import ManualClock
from relevo.directory import PASSWORD_FILE, DataDirectory
from relevo.errors import ConfigurationError, Unauthenticated
from relevo.settings import load
from relevo.store.db import FILE_NAME
from relevo.store.schema import prepare
from tests.running import free_ports

pytestmark = pytest.mark.usefixtures("collector")


def application(data: Path, **options: Any) -> Application:
    free = {"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    return Application(load({"data": data, **free, **options}, {}))


@contextlib.asynccontextmanager
async def running(data: Path, **options: Any) -> AsyncIterator[Application]:
    one = application(data, **options)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def refusal(data: Path, **options: Any) -> str:
    """Why it does not start; whatever happens, nothing of it stays."""
    one = application(data, **options)
    try:
        await one.start()
    except ConfigurationError as error:
        return str(error)
    await one.stop()
    raise AssertionError("it started")


async def request(one: Application, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{one.http_port}{path}")


@pytest.fixture
def left() -> Callable[[], list[str]]:
    """Our threads that were not there before."""
    before = set(threading.enumerate())
    return lambda: [one.name for one in threading.enumerate() if one not in before and one.name.startswith("relevo")]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


async def test_it_comes_up_answers_and_goes_without_a_trace(tmp_path: Path, left: Callable[[], list[str]]) -> None:
    async with running(tmp_path) as one:
        assert (await request(one, "/healthz")).json() == {"status": "ok"}
        assert one.http_port != one.mqtt_port
    assert left() == []
    for port in (one.http_port, one.mqtt_port):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    await one.stop()
    async with running(tmp_path):
        pass


async def test_every_listener_answers(tmp_path: Path) -> None:
    extra = free_ports(2)
    async with running(tmp_path, http_extra=[f"127.0.0.1:{port}" for port in extra]):
        async with httpx.AsyncClient(trust_env=False) as client:
            for port in extra:
                assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200


@pytest.mark.parametrize("door", ["http", "mqtt", "http_extra"])
async def test_a_port_that_is_taken_leaves_nothing_behind(
    tmp_path: Path, taken: int, door: str, left: Callable[[], list[str]]
) -> None:
    address = f"127.0.0.1:{taken}"
    said = await refusal(tmp_path, **{door: [address] if door == "http_extra" else address})
    assert f"cannot listen on {address}: " in said
    assert "HOST:PORT" in said
    assert left() == []
    # A socket that is still open complains here.
    gc.collect()
    async with running(tmp_path):
        pass


async def test_an_http_port_is_free_again_when_another_door_could_not_open(tmp_path: Path, taken: int) -> None:
    (port,) = free_ports(1)
    await refusal(tmp_path, http=f"127.0.0.1:{port}", mqtt=f"127.0.0.1:{taken}")
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("doors", [("http", "mqtt"), ("http", "http_extra"), ("mqtt", "http_extra")])
async def test_two_doors_on_one_port_are_told(tmp_path: Path, doors: tuple[str, str]) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    options = {door: [address] if door == "http_extra" else address for door in doors}
    async with asyncio.timeout(10):
        assert f"cannot listen on {address}" in await refusal(tmp_path, **options)


@pytest.mark.parametrize("door", ["http", "mqtt"])
async def test_an_address_of_another_machine_is_told(tmp_path: Path, door: str) -> None:
    assert "cannot listen on 203.0.113.1:2000" in await refusal(tmp_path, **{door: "203.0.113.1:2000"})


async def test_a_second_application_on_the_same_directory_is_told_who_has_it(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        said = await refusal(tmp_path)
        assert f"{tmp_path} is used by another Relevo (process {os.getpid()})" in said
        assert (await request(first, "/healthz")).status_code == 200


async def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert "cannot be used" in await refusal(tmp_path / "data")


def test_a_lock_left_by_a_process_that_died_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999\n")
    directory = DataDirectory(tmp_path)
    directory.open()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    directory.close()


async def test_a_database_of_a_newer_version_is_told(tmp_path: Path) -> None:
    prepare(tmp_path / FILE_NAME)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert "newer Relevo" in await refusal(tmp_path)


def damage(path: Path, table: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize("table", ["alembic_version", "accounts", "secrets", "devices", "latest", "journal"])
async def test_a_damaged_database_is_told_with_what_helps(
    tmp_path: Path, table: str, left: Callable[[], list[str]]
) -> None:
    path = tmp_path / FILE_NAME
    prepare(path)
    damage(path, table)
    raised: Exception | None = None
    try:
        await application(tmp_path, admin_password="secret-password").start()
    except Exception as error:
        raised = error
    # Connections that the failed start left open complain here and not in the middle of another test.
    said, kind = str(raised), type(raised).__name__
    raised = None
    gc.collect()
    assert kind == "ConfigurationError", said
    assert str(path) in said
    assert "relevo doctor" in said
    assert "secret-password" not in said
    assert left() == []


@pytest.mark.parametrize("name", ["with space", "a#b", "50%41", "what?", "água"])
async def test_any_name_of_the_directory_will_do(tmp_path: Path, name: str) -> None:
    async with running(tmp_path / name) as one:
        assert (await request(one, "/healthz")).status_code == 200
    assert [place.name for place in tmp_path.iterdir()] == [name]


# The first administrator


async def test_a_password_is_made_up_once_and_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    async with running(tmp_path, admin_password="") as first:
        password = first.generated_password
        assert len(password) >= 12
        assert (tmp_path / PASSWORD_FILE).read_text() == f"{password}\n"
        assert stat.S_IMODE((tmp_path / PASSWORD_FILE).stat().st_mode) == 0o600
        assert await first.auth.check_password("admin", password, "")
    async with running(tmp_path, admin_password="") as again:
        assert again.generated_password == ""
        assert await again.auth.check_password("admin", password, "")


async def test_a_file_that_lay_there_before_does_not_open_the_password_to_others(tmp_path: Path) -> None:
    (tmp_path / PASSWORD_FILE).touch(mode=0o644)
    async with running(tmp_path, admin_password=""):
        assert stat.S_IMODE((tmp_path / PASSWORD_FILE).stat().st_mode) == 0o600


async def test_a_given_password_is_taken_once_and_appears_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, admin_password="correct-horse") as first:
        assert first.generated_password == ""
        assert await first.auth.check_password("admin", "correct-horse", "")
    async with running(tmp_path, admin_password="another") as again:
        # It is the first administrator's: a later value does not change it.
        assert await again.auth.check_password("admin", "correct-horse", "")
        assert not await again.auth.check_password("admin", "another", "")
    assert not (tmp_path / PASSWORD_FILE).exists()
    assert "correct-horse" not in "".join(capfd.readouterr())
    for file in tmp_path.iterdir():
        assert b"correct-horse" not in file.read_bytes(), file


async def test_two_installations_share_neither_passwords_nor_signing_keys(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "one", admin_password="") as one,
        running(tmp_path / "two", admin_password="") as two,
    ):
        assert one.generated_password != two.generated_password
        token = (await one.auth.sign_in(one.people.accounts["admin"], "native", "", "")).access
        assert one.tokens.identity(token).name == "admin"
        with pytest.raises(Unauthenticated):
            two.tokens.identity(token)
    async with running(tmp_path / "one") as again:
        # A restart signs nobody out.
        assert again.tokens.identity(token).name == "admin"


async def test_nobody_else_on_the_machine_can_read_what_is_stored(tmp_path: Path) -> None:
    """Password hashes and the key that signs tokens are in the database, also in a directory that was there before."""
    fresh, existing = tmp_path / "fresh", tmp_path / "existing"
    existing.mkdir(mode=0o755)
    for data in (fresh, existing):
        async with running(data):
            closed = stat.S_IMODE(data.stat().st_mode) & 0o077 == 0
            readable = [one.name for one in data.iterdir() if stat.S_IMODE(one.stat().st_mode) & 0o077]
            assert closed or readable == [], data


async def test_a_sign_in_link_works_once_and_for_ten_minutes(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        ticket = one.new_link()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{one.http_port}", trust_env=False) as browser:
            first = await browser.get(f"/ui/enter/{ticket}")
            assert (first.status_code, first.headers["location"]) == (302, "/ui/")
            assert "httponly" in first.headers["set-cookie"].lower()
            assert (await browser.get("/api/v1/me")).json()["name"] == "admin"
            browser.cookies.clear()
            second = await browser.get(f"/ui/enter/{ticket}")
            assert second.headers["location"] == "/ui/signin"
            assert "set-cookie" not in second.headers


async def test_a_clock_that_is_put_back_hides_no_reading(tmp_path: Path) -> None:
    """A machine that learns the time after its start had devices registered in what is now the future."""
    clock = ManualClock(1_795_000_000_000)
    free = {"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "admin_password": "given"}
    one = Application(load({"data": tmp_path, **free}, {}), clock)
    await one.start()
    try:
        headers = {"Authorization": f"Bearer {one.local_key()}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{one.http_port}/api/v1", headers=headers, trust_env=False
        ) as api:
            assert (await api.post("/devices", json={"id": "d1"})).status_code == 201
            clock.jump(-3_600)
            assert (await api.post("/devices/d1/telemetry", json={"v": 1})).json()["stored"] == 1
            answer = await api.get("/devices/d1/telemetry/v", params={"to": clock.now_ms() + 1})
            assert [value for _, value in answer.json()["points"]] == [1]
            # Nor does it bring back what the id's former device sent.
            assert (await api.delete("/devices/d1")).status_code == 204
            clock.jump(-3_600)
            assert (await api.post("/devices", json={"id": "d1"})).status_code == 201
            answer = await api.get("/devices/d1/telemetry/v", params={"to": clock.now_ms() + 10_000_000})
            assert answer.json().get("points", []) == []
    finally:
        await one.stop()
