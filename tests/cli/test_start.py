"""Starting as a program: what is said and with which code it ends. The reasons themselves: ``tests/test_app.py``."""

import shutil
import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from relevo.store.db import FILE_NAME
from tests.cli.running import complaint, serve
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports


def sign_in(server: RunningServer, password: str) -> int:
    body = {"username": "admin", "password": password}
    return httpx.post(f"{server.http}/api/v1/auth/login", json=body, trust_env=False).status_code


def ctrl_c(server: RunningServer) -> None:
    process, server.process = server.process, None
    assert process is not None
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0
    assert "stopped drained=True" in server.log.read_text()


def test_a_second_server_on_the_same_directory_says_who_has_it_and_disturbs_nothing(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        said = complaint(serve(tmp_path / "data"), 1)
        assert str(tmp_path / "data") in said
        assert f"used by another Relevo (process {server.pid})" in said
        assert "--data DIR" in said
        server.register("still-here")
        assert server.health().status_code == 200


def test_a_port_that_is_taken_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint(serve(tmp_path / "data", "--mqtt", f"127.0.0.1:{port}"), 1)
    assert f"MQTT cannot listen on 127.0.0.1:{port}: " in said
    assert "--mqtt HOST:PORT" in said


def test_two_doors_on_one_port_are_told(tmp_path: Path) -> None:
    """With uvloop both would get the port, and whoever connects would meet one of them by chance."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    said = complaint(serve(tmp_path / "data", "--http", address, "--mqtt", address, seconds=8), 1)
    assert f"cannot listen on {address}" in said


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is part of util-linux")
def test_a_disk_without_room_for_the_first_database_is_told(tmp_path: Path) -> None:
    said = complaint(serve(tmp_path / "data", prefix=["prlimit", "--fsize=20000"]), 1)
    assert str(tmp_path / "data" / FILE_NAME) in said


def test_a_password_is_made_up_and_shown_at_the_first_start_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RunningServer(data, env={"RELEVO_ADMIN_PASSWORD": ""}) as server:
        file = data / "admin-password"
        password = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        # Requests are answered a moment before the greeting is printed.
        eventually(lambda: f"administrator: admin   password: {password}" in server.log.read_text())
        assert sign_in(server, password) == 200
        assert sign_in(server, "admin") == 401
        ctrl_c(server)
        server.start()
        assert server.log.read_text().count(password) == 1
        assert server.log.read_text().count("administrator: admin") == 1
        assert sign_in(server, password) == 200
        assert "Traceback" not in server.log.read_text()
