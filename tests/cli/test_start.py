"""Starting: one server a directory, free ports, the first password, and what is said when it cannot be."""

import shutil
import socket
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from relevo.store.db import FILE_NAME
from relevo.store.schema import prepare
from tests.cli.running import complaint, serve
from tests.running import ADMIN_PASSWORD, RunningServer, free_ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def sign_in(server: RunningServer, password: str) -> int:
    body = {"username": "admin", "password": password}
    return httpx.post(f"{server.http}/api/v1/auth/login", json=body, trust_env=False).status_code


def test_a_second_server_on_the_same_directory_says_who_has_it_and_disturbs_nothing(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        said = complaint(serve(tmp_path / "data"), 1)
        assert str(tmp_path / "data") in said
        assert f"used by another Relevo (process {server.pid})" in said
        assert "--data DIR" in said
        server.register("still-here")
        assert server.health().status_code == 200


@pytest.mark.parametrize("door", ["http", "mqtt"])
def test_a_port_that_is_taken_is_named_with_the_option_that_changes_it(tmp_path: Path, taken: int, door: str) -> None:
    said = complaint(serve(tmp_path / "data", f"--{door}", f"127.0.0.1:{taken}"), 1)
    assert f"{door.upper()} cannot listen on 127.0.0.1:{taken}: " in said
    assert f"--{door} HOST:PORT" in said
    # The directory is free again.
    with RunningServer(tmp_path / "data"):
        pass


def test_both_doors_on_one_port_is_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    said = complaint(serve(tmp_path / "data", "--http", f"127.0.0.1:{port}", "--mqtt", f"127.0.0.1:{port}"), 1)
    assert f"cannot listen on 127.0.0.1:{port}" in said


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    for door in ("http", "mqtt"):
        said = complaint(serve(tmp_path / "data", f"--{door}", "203.0.113.1:2000"), 1)
        assert "cannot listen on 203.0.113.1:2000" in said


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert "cannot be used" in complaint(serve(tmp_path / "data"), 1)


def test_a_database_of_a_newer_version_is_told(tmp_path: Path) -> None:
    prepare(tmp_path / FILE_NAME)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "newer Relevo" in complaint(serve(tmp_path), 1)


def damage(path: Path, table: str) -> None:
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize("table", ["alembic_version", "accounts", "devices", "latest", "journal"])
def test_a_damaged_database_is_told_with_what_helps(tmp_path: Path, table: str) -> None:
    prepare(tmp_path / FILE_NAME)
    damage(tmp_path / FILE_NAME, table)
    said = complaint(serve(tmp_path, env={"RELEVO_ADMIN_PASSWORD": "secret-of-the-environment"}), 1)
    assert str(tmp_path / FILE_NAME) in said
    assert "relevo doctor" in said
    assert "secret-of-the-environment" not in said


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is part of util-linux")
def test_a_disk_without_room_for_the_first_database_is_told(tmp_path: Path) -> None:
    said = complaint(serve(tmp_path / "data", prefix=["prlimit", "--fsize=20000"]), 1)
    assert str(tmp_path / "data" / FILE_NAME) in said


@pytest.mark.parametrize("name", ["with space", "a#b", "50%41", "água"])
def test_any_name_of_the_directory_will_do(tmp_path: Path, name: str) -> None:
    with RunningServer(tmp_path / name, ready_seconds=10) as server:
        server.register("d1")
        assert server.api.post("/api/v1/devices/d1/telemetry", json={"v": 1}).status_code == 200
        assert server.api.get("/api/v1/devices/d1/telemetry/v").json()["points"][0][1] == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == [name, f"{name}-server.log"]


# The first administrator


def test_a_password_is_made_up_shown_once_and_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RunningServer(data, env={"RELEVO_ADMIN_PASSWORD": ""}) as server:
        file = data / "admin-password"
        password = file.read_text().strip()
        assert len(password) >= 12
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert server.log.read_text().count(password) == 1
        assert f"administrator: admin   password: {password}" in server.log.read_text()
        assert sign_in(server, password) == 200
        assert sign_in(server, "admin") == 401
        server.restart()
        assert server.log.read_text().count(password) == 1
        assert server.log.read_text().count("administrator: admin") == 1
        assert file.read_text().strip() == password
        assert sign_in(server, password) == 200


def test_a_password_from_the_environment_is_taken_and_appears_nowhere(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RunningServer(data) as server:
        assert sign_in(server, ADMIN_PASSWORD) == 200
        assert not (data / "admin-password").exists()
        server.stop()
        # It is the first administrator's: a later value does not change it.
        server.env["RELEVO_ADMIN_PASSWORD"] = "another"
        server.start()
        assert sign_in(server, ADMIN_PASSWORD) == 200
        assert sign_in(server, "another") == 401
    assert ADMIN_PASSWORD not in server.log.read_text()
    for file in data.iterdir():
        assert ADMIN_PASSWORD.encode() not in file.read_bytes(), file


def test_two_installations_have_different_passwords(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        with RunningServer(tmp_path / name, env={"RELEVO_ADMIN_PASSWORD": ""}):
            found.append((tmp_path / name / "admin-password").read_text())
    assert found[0] != found[1]


def test_nobody_else_on_the_machine_can_read_what_is_stored(tmp_path: Path) -> None:
    """Password hashes and the key that signs tokens are in the database."""
    fresh, existing = tmp_path / "fresh", tmp_path / "existing"
    existing.mkdir(mode=0o755)
    for data in (fresh, existing):
        with RunningServer(data) as server:
            server.register("d1")
            closed = stat.S_IMODE(data.stat().st_mode) & 0o077 == 0
            readable = [one.name for one in data.iterdir() if stat.S_IMODE(one.stat().st_mode) & 0o077]
            assert closed or readable == [], data
