"""A backup of a server that is busy, brought back elsewhere: everything that it answers is the same."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from alembic import command
from alembic.config import Config

from relevo import swap
from relevo.directory import DataDirectory
from relevo.store import backup as backups
from relevo.store import journal, schema
from relevo.store.archive import Archive
from relevo.store.db import core_on, open_writer
from tests.cli.running import complaint, relevo
from tests.running import REPOSITORY, RunningServer
from tests.store.samples import NOW, reading

EVER = {"start_ms": 0, "end_ms": 4_000_000_000_000}


class Senders:
    """Devices that send numbers one after the other; what was acknowledged is known."""

    def __init__(self, server: RunningServer, keys: dict[str, str]) -> None:
        self.acknowledged = dict.fromkeys(keys, 0)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(server.http, device, key)) for device, key in keys.items()
        ]

    def _send(self, http: str, device: str, key: str) -> None:
        path = f"/api/v1/devices/{device}/telemetry"
        with httpx.Client(base_url=http, auth=("device", key), trust_env=False, timeout=30) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            client.auth = None
            while not self._stop.is_set():
                number = self.acknowledged[device] + 1
                answer = client.post(path, json={"n": number})
                assert answer.status_code < 300, answer.text
                self.acknowledged[device] = number

    def __enter__(self) -> "Senders":
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join(30)


def numbers(server: RunningServer, device: str) -> list[int]:
    return [value for _, value in server.points(device, "n", **EVER)]


def everything(server: RunningServer, devices: list[str]) -> dict[str, Any]:
    """What people and devices see, without what tells of this very process."""
    found: dict[str, Any] = {"devices": server.api.get("/api/v1/devices").json()["items"]}
    for one in found["devices"]:
        one.pop("online")
    for path in ("/api/v1/users", "/api/v1/rules", "/api/v1/sites"):
        found[path] = server.api.get(path).json()
    for device in devices:
        found[device] = server.points(device, "n", **EVER), server.api.get(f"/api/v1/devices/{device}/latest").json()
    return found


def connected(server: RunningServer, device: str, key: str, *, subscribe: bool = False) -> tuple[bool, list[bytes]]:
    """A kept MQTT session of ``device``: whether it was there, and what was waiting in it."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{device}-client", clean_session=False)
    client.username_pw_set(device, key)
    there: list[bool] = []
    heard: list[bytes] = []
    done = threading.Event()

    def on_connect(_c: Any, _u: Any, flags: Any, reason: Any, _p: Any) -> None:
        assert not reason.is_failure, reason
        there.append(flags.session_present)
        if subscribe:
            client.subscribe(f"relevo/{device}/command", qos=1)
        else:
            done.set()

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: done.set()
    client.on_message = lambda _c, _u, message: heard.append(message.payload)
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    assert done.wait(20)
    client.disconnect()
    client.loop_stop()
    return there[0], heard


def test_a_busy_server_is_backed_up_and_answers_the_same_elsewhere(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "one.relevo"
    env = {"RELEVO_HISTORY__TAIL_EVENTS": "200"}
    with RunningServer(data, env=env) as server:
        keys = {device: server.register(device) for device in ("north", "south", "west")}
        person = {"name": "ana", "password": "a-long-enough-one", "role": "operator"}
        assert server.api.post("/api/v1/users", json=person).status_code == 201
        assert relevo("ca", "init", "--data", str(data)).returncode == 0
        assert connected(server, "west", keys["west"], subscribe=True) == (False, [])
        with Senders(server, keys) as senders:
            while min(senders.acknowledged.values()) < 300:
                time.sleep(0.02)
            before = dict(senders.acknowledged)
            made = relevo("backup", str(file), "--data", str(data), seconds=60)
            after = dict(senders.acknowledged)
        assert made.returncode == 0, made.stderr
        assert "3 devices, 2 people" in made.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "data-server.log", "one.relevo"]
        whole = {device: numbers(server, device) for device in keys}
    with Archive(file) as archive:
        assert {one.name for one in archive.manifest.parts} == {
            "authority/authority.key", "authority/authority.pem", "relevo.db", "secret.key",
        }  # fmt: skip
        points = archive.manifest.points

    elsewhere = tmp_path / "elsewhere"
    back = relevo("restore", str(file), "--data", str(elsewhere))
    assert back.returncode == 0, back.stderr
    assert stat.S_IMODE((elsewhere / "secret.key").stat().st_mode) == 0o600
    assert not [one.name for one in elsewhere.iterdir() if one.name.startswith("resto")]
    with RunningServer(elsewhere, env=env) as second:
        found = {device: numbers(second, device) for device in keys}
        assert sum(map(len, found.values())) == points
        for device, values in found.items():
            # One moment: all that was acknowledged before it, nothing that came after, nothing left out between.
            assert values == whole[device][: len(values)]
            assert before[device] <= len(values) <= after[device] + 1
        login = {"username": "ana", "password": "a-long-enough-one"}
        assert httpx.post(f"{second.http}/api/v1/auth/login", json=login, trust_env=False).status_code == 200
        assert connected(second, "west", keys["west"]) == (True, [])
        first = everything(second, list(keys))
        assert len(first["devices"]) == 3
        again = tmp_path / "again.relevo"
    # A stopped one is backed up as well; what comes out of that is the same once more.
    assert relevo("backup", str(again), "--data", str(elsewhere)).returncode == 0
    assert relevo("restore", str(again), "--data", str(tmp_path / "third")).returncode == 0
    with RunningServer(tmp_path / "third", env=env) as third:
        assert everything(third, list(keys)) == first


def test_what_may_not_be_overwritten_is_not(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "one.relevo"
    with RunningServer(data) as server:
        server.register("kept")
        assert relevo("backup", str(file), "--data", str(data)).returncode == 0
        assert "is there already" in complaint(relevo("backup", str(file), "--data", str(data)), 1)
        assert relevo("backup", str(file), "--data", str(data), "--replace").returncode == 0
        used = relevo("restore", str(file), "--data", str(data), "--replace")
        assert f"used by another Relevo (process {server.pid})" in complaint(used, 1)
        server.register("later")
    assert "is not empty (relevo.db" in complaint(relevo("restore", str(file), "--data", str(data)), 1)
    back = relevo("restore", str(file), "--data", str(data), "--replace")
    assert back.returncode == 0, back.stderr
    (aside,) = data.glob(f"{swap.ASIDE}*")
    assert str(aside) in back.stderr
    for folder, devices in ((data, {"kept"}), (aside, {"kept", "later"})):
        with RunningServer(folder, log=tmp_path / f"{folder.name}.log") as server:
            assert {one["id"] for one in server.api.get("/api/v1/devices").json()["items"]} == devices
    assert "no database in" in complaint(relevo("backup", str(tmp_path / "x"), "--data", str(tmp_path / "none")), 1)
    assert not (tmp_path / "none" / "lock").exists()


def small(data: Path, file: Path) -> None:
    """A backup of a server with one device."""
    with RunningServer(data) as server:
        server.register("one")
        assert server.api.post("/api/v1/devices/one/telemetry", json={"n": 1}).status_code < 300
    backups.make(data, file)


def test_a_file_that_is_damaged_or_cut_changes_nothing(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "one.relevo"
    small(data, file)
    whole = file.read_bytes()
    chance = random.Random(7)
    for place in (*chance.sample(range(len(whole)), 25), None):
        damaged = bytearray(whole)
        if place is None:
            del damaged[len(whole) * 2 // 3 :]
        else:
            damaged[place] ^= 0xFF
        (tmp_path / "bad.relevo").write_bytes(damaged)
        target = tmp_path / "target"
        ended = relevo("restore", str(tmp_path / "bad.relevo"), "--data", str(target)) if place is None else None
        if ended is not None:
            assert "is no backup, or its end is missing" in complaint(ended, 1)
            assert not target.exists()
            continue
        try:
            with Archive(tmp_path / "bad.relevo") as archive:
                archive.verify()
                found = archive.manifest
        except backups.Damaged:
            continue
        # What was hit says nothing: a date, a mode of the zip format.
        with Archive(file) as archive:
            assert found == archive.manifest


def test_one_of_a_newer_relevo_is_refused_and_one_of_an_older_schema_is_brought_up(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "one.relevo"
    small(data, file)
    connection = sqlite3.connect(data / "relevo.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    backups.make(data, tmp_path / "newer.relevo")
    newer = relevo("restore", str(tmp_path / "newer.relevo"), "--data", str(tmp_path / "t"))
    assert "newer than" in complaint(newer, 1)
    assert not (tmp_path / "t").exists()

    old = tmp_path / "old"
    old.mkdir()
    (old / "secret.key").write_bytes((data / "secret.key").read_bytes())
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.attributes["connection"] = core = core_on(opened := open_writer(old / "relevo.db"))
    command.upgrade(config, "0010")
    core.commit()
    core.close()
    with closing(opened):
        opened.execute(
            "INSERT INTO devices(number, id, contract, external_id, name, type, registered_at, tags, attributes) "
            "VALUES (1, 'one', 'native', 'one', 'One', 'test', 0, '[]', '{}')"
        )
        journal.append(opened, 1, 1, NOW, NOW, NOW, journal.encode([reading("one", {"n": 1})]))
    assert backups.make(old, tmp_path / "older.relevo").points == 0
    assert relevo("restore", str(tmp_path / "older.relevo"), "--data", str(tmp_path / "t")).returncode == 0
    with RunningServer(tmp_path / "t") as server:
        assert [value for _, value in server.points("one", "n", **EVER)] == [1]
    with closing(sqlite3.connect(tmp_path / "t" / "relevo.db")) as connection:
        assert schema.current(connection) == schema.HEAD


def test_ctrl_c_and_kill_leave_no_half_backup(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "one.relevo"
    small(data, file)
    file.unlink()
    with closing(sqlite3.connect(data / "relevo.db")) as connection:
        # Large enough to be interrupted.
        connection.execute("CREATE TABLE ballast(data BLOB)")
        connection.executemany("INSERT INTO ballast VALUES (?)", ((os.urandom(100_000),) for _ in range(400)))
        connection.commit()
    program = [sys.executable, "-m", "relevo", "backup", str(file), "--data", str(data)]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for suffix in (backups.COPYING, backups.PARTIAL):
            process = subprocess.Popen(program, cwd=REPOSITORY, stderr=subprocess.PIPE)
            until = time.monotonic() + 30
            while not (size := _size(Path(f"{file}{suffix}"))) and process.poll() is None:
                assert time.monotonic() < until
            assert size, "it was never begun"
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            assert process.returncode != 0
            assert not file.exists()
            if number != signal.SIGKILL:
                assert sorted(tmp_path.glob("one.relevo*")) == [], said
    assert relevo("backup", str(file), "--data", str(data), seconds=60).returncode == 0
    assert sorted(tmp_path.glob("one.relevo*")) == [file]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


class Killed(BaseException):
    """What stands for a power cut: nothing after it runs."""


def test_a_restore_that_is_killed_at_any_point_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the directory is one before which it can end."""
    from relevo.restoring import restore

    file = tmp_path / "one.relevo"
    small(tmp_path / "origin", file)
    with Archive(file) as archive:
        wanted = {one.name for one in archive.manifest.parts}
    names = ("rename", "mkdir")
    ended, at = False, 0
    seen: set[str] = set()
    while not ended:
        data = tmp_path / f"data-{at}"
        data.mkdir()
        for name in ("relevo.db", "relevo.db-wal", "secret.key"):
            (data / name).write_text(f"old {name}")
        left = at
        with monkeypatch.context() as patched:

            def cut(original: Any) -> Any:
                def call(*args: Any, **named: Any) -> Any:
                    nonlocal left
                    if left == 0:
                        raise Killed
                    left -= 1
                    return original(*args, **named)

                return call

            for name in names:
                patched.setattr(Path, name, cut(getattr(Path, name)))
            patched.setattr(swap, "write_file", cut(swap.write_file))
            patched.setattr("relevo.restoring.shutil.rmtree", cut(lambda *_, **__: None))
            try:
                restore(file, data, 1_767_225_600_000, replace=True)
                ended = True
            except Killed:
                pass
        again = DataDirectory(data)
        again.open()
        again.close()
        there = set(swap.held(data))
        asides = list(data.glob(f"{swap.ASIDE}*"))
        if (data / "relevo.db").read_bytes().startswith(b"old"):
            seen.add("old")
            assert there == {"relevo.db", "relevo.db-wal", "secret.key"}
            assert asides == []
        else:
            seen.add("new")
            assert there == {name.partition("/")[0] for name in wanted}
            (aside,) = asides
            assert {one.name for one in aside.iterdir()} == {"relevo.db", "relevo.db-wal", "secret.key"}
        assert not list(data.glob(f"{swap.MAKING}*"))
        assert not (data / swap.READY).exists()
        at += 1
    assert seen == {"old", "new"}
    assert at > 8


def test_a_restore_that_is_killed_for_good_is_finished_by_the_next_start(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "one.relevo"
    small(data, file)
    program = [sys.executable, "-m", "relevo", "restore", str(file), "--replace", "--data", str(data)]
    for wait in (0.0, 0.01, 0.03, 0.06):
        process = subprocess.Popen(program, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while not list(data.glob("resto*")) and process.poll() is None:
            assert time.monotonic() < until
        time.sleep(wait)
        process.kill()
        process.wait()
        with RunningServer(data) as server:
            assert [value for _, value in server.points("one", "n", **EVER)] == [1]


def test_damage_is_named_and_the_rest_starts_again(tmp_path: Path) -> None:
    data, file, saved = tmp_path / "data", tmp_path / "one.relevo", tmp_path / "saved"
    with RunningServer(data, env={"RELEVO_HISTORY__TAIL_EVENTS": "100"}) as server:
        for device in ("north", "south"):
            server.register(device)
            for n in range(40):
                answer = server.api.post(
                    f"/api/v1/devices/{device}/telemetry", json=[{"ts": NOW + n, "values": {"n": n}}]
                )
                assert answer.status_code < 300
        whole = relevo("check", "--data", str(data))
        assert (whole.returncode, whole.stdout) == (0, ""), whole.stdout
        assert "nothing is damaged" in whole.stderr
        running = relevo("check", "--data", str(data), "--salvage", str(saved))
        assert f"used by another Relevo (process {server.pid})" in complaint(running, 2)
        assert not saved.exists()
    backups.make(data, file)
    assert relevo("check", str(file)).returncode == 0
    assert "no database in" in complaint(relevo("check", "--data", str(tmp_path / "none")), 2)
    assert "--salvage is for" in complaint(relevo("check", str(file), "--salvage", str(saved)), 2)

    with closing(sqlite3.connect(data / "relevo.db")) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'devices'").fetchone()
        (first,) = connection.execute("SELECT min(seq) FROM journal WHERE instr(data, 'south') AND t0 > 0").fetchone()
        connection.execute("UPDATE journal SET data = zeroblob(length(data)) WHERE seq = ?", (first,))
        connection.commit()
    lost = relevo("check", "--data", str(data))
    assert lost.returncode == 1
    assert f"journal: events {first} to {first}, of 20" in lost.stdout
    content = bytearray((data / "relevo.db").read_bytes())
    content[:100] = bytes(100)
    (data / "relevo.db").write_bytes(content)
    found = relevo("check", "--data", str(data), "--salvage", str(saved))
    assert found.returncode == 1, found.stderr
    assert (saved / "missing.txt").read_text() == found.stdout
    assert "its first page is damaged" in found.stdout
    assert root > 1
    with RunningServer(saved) as server:
        values = {device: [value for _, value in server.points(device, "n", **EVER)] for device in ("north", "south")}
        assert values["north"] == list(range(40))
        assert len(values["south"]) == 39
        assert relevo("check", "--data", str(saved)).returncode == 1

    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)
    bad = relevo("check", str(file))
    assert bad.returncode == 1, bad.stdout
    assert "relevo.db cannot be read" in bad.stdout or "is not what the manifest says" in bad.stdout
