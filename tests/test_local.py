"""How a command beside the server finds it, and what it says when there is none."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.errors import Conflict, Invalid, NotFound, Unauthenticated
from relevo.local import FILE, LocalServer, NotRunning, announce, quoted, withdraw
from tests.running import RunningServer, free_ports


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("local") / "data") as running:
        yield running


def test_a_command_is_the_administrator_without_a_password(server: RunningServer) -> None:
    assert stat.S_IMODE((server.data / FILE).stat().st_mode) == 0o600
    local = LocalServer(server.data)
    assert local.url == server.http
    made = local.post("/api/v1/devices", {"id": "a:b"})
    assert made["id"] == "a:b"
    assert local.get("/api/v1/devices", search="a:b", cursor=None)["items"][0]["id"] == "a:b"
    assert local.delete(f"/api/v1/devices/{quoted('a:b')}") is None


def test_what_the_server_refuses_comes_in_its_own_words(server: RunningServer) -> None:
    local = LocalServer(server.data)
    with pytest.raises(NotFound, match="nothing-here"):
        local.get("/api/v1/devices/nothing-here")
    with pytest.raises(Invalid, match="id must be"):
        local.post("/api/v1/devices", {"id": "a b"})
    local.post("/api/v1/devices", {"id": "twice"})
    with pytest.raises(Conflict, match="twice"):
        local.post("/api/v1/devices", {"id": "twice"})


def test_the_file_goes_with_the_server_and_a_new_one_has_another_key(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        first = json.loads((server.data / FILE).read_text())
        server.stop()
        assert not (server.data / FILE).exists()
        with pytest.raises(NotRunning, match="relevo serve --data"):
            LocalServer(server.data)
        server.start()
        assert json.loads((server.data / FILE).read_text())["key"] != first["key"]
        (server.data / FILE).write_text(json.dumps(first))
        with pytest.raises(Unauthenticated):
            LocalServer(server.data).get("/api/v1/devices")


def test_what_a_killed_server_left_behind_says_that_nobody_answers(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    announce(tmp_path, "0.0.0.0", port, "key")
    assert json.loads((tmp_path / FILE).read_text())["http"] == f"http://127.0.0.1:{port}"
    with pytest.raises(NotRunning, match="no Relevo runs on"):
        LocalServer(tmp_path).get("/healthz")
    withdraw(tmp_path)
    withdraw(tmp_path)


@pytest.mark.parametrize(
    ("host", "url"),
    [("::", "http://[::1]:80"), ("::1", "http://[::1]:80"), ("192.168.1.5", "http://192.168.1.5:80")],
)
def test_the_address_is_one_that_can_be_reached(tmp_path: Path, host: str, url: str) -> None:
    announce(tmp_path, host, 80, "key")
    assert LocalServer(tmp_path).url == url


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"http": "x"}', "nonsense"])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(NotRunning, match=FILE):
        LocalServer(tmp_path)
