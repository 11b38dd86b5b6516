import fcntl
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from relevo.clock import ManualClock, SystemClock
from relevo.jobs import doctor
from relevo.settings import Listen, Settings, load


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def settings_for(data: Path, **options: object) -> Settings:
    free = {"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0"}
    return load({"data": data, **free, **options}, {})


def hold(data: Path) -> int:
    lock = os.open(data / doctor.LOCK_NAME, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def test_a_sound_machine_passes_every_check(tmp_path: Path) -> None:
    checks = doctor.run_checks(settings_for(tmp_path, **{"limits.connections": 10}))
    assert [check for check in checks if not check.ok] == []
    assert all(check.detail and not check.remedy for check in checks)
    assert [check.name.split()[0] for check in checks] == [
        "data",
        "lock",
        "disk",
        "synced",
        "clock",
        "SQLite",
        "database",
        "http",
        "mqtt",
        "open",
        "optional",
    ]
    assert list(tmp_path.iterdir()) == []


def test_every_failure_says_what_to_do(tmp_path: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    (tmp_path / "relevo.db").write_bytes(b"no database" * 1000)
    bad = settings_for(
        tmp_path,
        http=f"127.0.0.1:{port}",
        http_extra="203.0.113.1:5000",
        tls_cert=tmp_path / "none.pem",
        tls_key=tmp_path / "none.key",
    )
    failed = [check for check in doctor.run_checks(bad, ManualClock(0)) if not check.ok]
    assert {"clock", "database", "certificate"} <= {check.name for check in failed}
    assert {f"http 127.0.0.1:{port}", "http_extra 203.0.113.1:5000"} <= {check.name for check in failed}
    assert all(check.remedy for check in failed)


def test_a_directory_that_does_not_exist_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    check = doctor.check_directory(tmp_path / "a" / "b")
    assert check.ok
    assert "does not exist yet" in check.detail
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert not doctor.check_directory(tmp_path / "data").ok
    assert not doctor.check_directory(tmp_path / "data" / "inside").ok
    assert not doctor.run_checks(settings_for(tmp_path / "data"))[0].ok


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_of_somebody_else_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    check = doctor.check_directory(tmp_path)
    assert (check.ok, "Permission denied" in check.detail) == (False, True)


def test_the_lock_tells_who_runs(tmp_path: Path) -> None:
    assert doctor.lock_holder(tmp_path) is None
    lock = hold(tmp_path)
    assert doctor.lock_holder(tmp_path) == os.getpid()
    os.pwrite(lock, b"?" * 8, 0)
    assert doctor.lock_holder(tmp_path) == 0
    os.close(lock)
    assert doctor.lock_holder(tmp_path) is None


def test_a_free_port_is_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert doctor.check_port("http", Listen("127.0.0.1", port), None).detail == "free"


def test_a_port_of_the_running_relevo_is_no_failure(tmp_path: Path, listener: socket.socket) -> None:
    lock = hold(tmp_path)
    check = doctor.check_port("mqtt", Listen("127.0.0.1", listener.getsockname()[1]), doctor.lock_holder(tmp_path))
    os.close(lock)
    assert check.ok
    assert check.detail == f"in use by the Relevo that runs (process {os.getpid()})"


def test_a_port_of_another_program_is_named_with_its_process(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    check = doctor.check_port("mqtt", Listen("127.0.0.1", port), None)
    assert not check.ok
    assert f"(process {os.getpid()})" in check.detail
    assert check.remedy == "stop that program, or choose another port with --mqtt HOST:PORT"


def test_a_running_relevo_does_not_excuse_another_program_on_its_port(listener: socket.socket) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        check = doctor.check_port("http", Listen("127.0.0.1", listener.getsockname()[1]), other.pid)
        other.communicate(b"\n")
    assert not check.ok


def test_a_foreign_address_is_found() -> None:
    check = doctor.check_port("http_extra", Listen("203.0.113.1", 5000), None)
    assert not check.ok
    assert "RELEVO_HTTP_EXTRA" in check.remedy


def test_a_name_without_address_is_found() -> None:
    assert not doctor.check_port("http", Listen("no-such-host.invalid", 1), None).ok


@pytest.mark.parametrize("year_ms", [0, 946_684_800_000, 4_200_000_000_000])
def test_an_impossible_clock_is_found(year_ms: int) -> None:
    check = doctor.check_clock(ManualClock(year_ms))
    assert not check.ok
    assert "set-ntp" in check.remedy


def test_the_database_may_be_absent_whole_or_damaged(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert "does not exist yet" in doctor.check_database(settings, SystemClock()).detail
    connection = sqlite3.connect(tmp_path / "relevo.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x TEXT)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 500)
    connection.commit()
    assert doctor.check_database(settings, SystemClock()).detail.endswith("is whole")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (tmp_path / "relevo.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(60_000))
    check = doctor.check_database(settings, SystemClock())
    assert not check.ok
    assert "is damaged" in check.detail


def test_a_large_database_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "QUICK_CHECK_S", -1.0)
    connection = sqlite3.connect(tmp_path / "relevo.db")
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(100_000)])
    connection.commit()
    connection.close()
    check = doctor.check_database(settings_for(tmp_path), SystemClock())
    assert check.ok
    assert "is large" in check.detail


def test_another_database_is_named_without_its_password(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, database_url="postgresql://u:hunter2@db.example/relevo")
    check = doctor.check_database(settings, SystemClock())
    assert check.detail == "postgresql on db.example, not looked at"


def test_a_slow_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(doctor, "_sync", lambda fd: clock.advance(0.2))
    check = doctor.check_sync(tmp_path, clock)
    assert not check.ok
    assert check.detail == "median 200.0 ms, slowest 200.0 ms"


def test_a_disk_that_fails_to_sync_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor, "_sync", fail)
    assert doctor.check_sync(tmp_path, SystemClock()).detail == "failed: Input/output error"


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert not doctor.check_space(tmp_path).ok


def test_too_low_a_limit_of_open_files_is_found() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert doctor.check_files(1).ok
    check = doctor.check_files(soft + 1)
    assert not check.ok
    assert f"ulimit -n {soft + 1 + doctor.FILES_BESIDE}" in check.remedy


def test_an_old_sqlite_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version_info", (3, 7, 17))
    assert not doctor.check_sqlite().ok


def test_absent_optional_parts_are_told_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.check_parts().detail == "uvloop and httptools absent: each message costs more CPU"
    assert doctor.check_parts().ok


def test_a_broker_elsewhere_needs_no_port_here(tmp_path: Path) -> None:
    names = [check.name for check in doctor.run_checks(settings_for(tmp_path, broker_url="mqtts://broker.example"))]
    assert not any(name.startswith("mqtt") for name in names)
