"""Exports and imports while they run: nothing runs for nobody, nothing gathers, devices go first."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from relevo.domain.events import ReadingImported
from relevo.errors import Invalid, StoreUnavailable, TooMany
from relevo.exchange import imports as imports_module
from relevo.exchange.exports import Exports
from relevo.exchange.imports import Imports
from relevo.exchange.protocol import ExportWanted, ImportWanted
from relevo.store.db import FILE_NAME
from relevo.store.schema import prepare
from tests.exchange.test_exports import BEGIN, send
from tests.running import RunningServer
from tests.store.samples import NOW, reading, registered
from tests.test_pipeline import Road

pytestmark = pytest.mark.timeout(300)

DAY = 86_400_000
# Long enough that the file is many times what sockets and pipes hold.
TEXT = "x" * 4_000


class Place:
    """A database with one device, and what exports from it and imports into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        prepare(path)
        self.road = Road(path)
        self.pauses: list[float] = []
        self.made: list[Exports] = []
        self.taken: list[Imports] = []

    async def close(self) -> None:
        for one in [*self.made, *self.taken]:
            await one.stop()
        await self.road.close()

    def exports(self, **more: Any) -> Exports:
        self.made.append(Exports(self.path, **more))
        return self.made[-1]

    async def fill(self, count: int, value: Any = 1) -> None:
        await self.road.pipeline.accept([registered("d1")])
        for at in range(0, count, 500):
            await self.road.pipeline.accept(
                [reading("d1", {"v": value}, ts=NOW + n) for n in range(at, min(at + 500, count))]
            )

    def wanted(self, **more: Any) -> ExportWanted:
        return ExportWanted([("d1", 1)], [], 0, NOW * 2, **more)

    def imports(self) -> Imports:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        self.taken.append(Imports(self.path, self.path.parent / "imports", self.road.pipeline, lambda: NOW, pause))
        return self.taken[-1]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    one = Place(tmp_path / FILE_NAME)
    yield one
    await one.close()


async def nobody(device: str) -> bool:
    return False


def gone(pid: int | None) -> bool:
    return pid is None or not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_nothing_is_made_that_nobody_takes(place: Place) -> None:
    await place.fill(2_000, TEXT)
    exports = place.exports()
    export = await exports.begin(place.wanted(), "somebody")
    assert export.expected == 2_000
    parts = export.parts()
    got = [await anext(parts)]
    pid = export._process.pid
    await until(lambda: export._next is not None and export._next.done())
    made = export._next.result() if export._next else None
    # One part is taken, one is waiting, and the process has stopped there.
    assert made is not None
    assert len(made.data) + len(got[0]) < 1_000_000
    assert psutil.Process(pid or 0).status() in (psutil.STATUS_SLEEPING, psutil.STATUS_DISK_SLEEP)
    got += [part async for part in parts]
    assert b"".join(got).count(b"\r\n") == 2_001
    assert export.points == 2_000
    assert exports.running == []
    # The next one is made by the same process.
    other = await exports.begin(place.wanted(format="jsonl"), "somebody")
    assert other._process.pid == pid
    assert len(b"".join([part async for part in other.parts()]).splitlines()) == 2_001
    await exports.stop()
    assert gone(pid)


async def test_a_process_that_has_nothing_to_do_ends(place: Place) -> None:
    await place.fill(10)
    export = await place.exports(quiet_s=0.05).begin(place.wanted(), "somebody")
    pid = export._process.pid
    assert b"".join([part async for part in export.parts()]).count(b"\r\n") == 11
    await until(lambda: gone(pid))


async def test_an_export_that_nobody_takes_ends(place: Place) -> None:
    await place.fill(2_000, TEXT)
    exports = place.exports(stalled_s=0.3)
    export = await exports.begin(place.wanted(), "somebody")
    pid = export._process.pid
    parts = export.parts()
    await anext(parts)
    await until(export.ended.is_set)
    await until(lambda: gone(pid))
    with pytest.raises(StoreUnavailable, match=r"nobody took a part of the export for 0\.3 s"):
        await anext(parts)


async def test_an_export_whose_process_is_lost_ends_early_and_says_so(place: Place) -> None:
    await place.fill(2_000, TEXT)
    exports = place.exports()
    export = await exports.begin(place.wanted(), "somebody")
    parts = export.parts()
    await anext(parts)
    os.kill(export._process.pid or 0, signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        _ = [part async for part in parts]
    assert exports.running == []


async def test_so_many_at_once_and_no_more(place: Place) -> None:
    await place.fill(10)
    exports = place.exports(at_once=1)
    first = await exports.begin(place.wanted(), "somebody")
    with pytest.raises(TooMany, match="1 exports are being made already"):
        await exports.begin(place.wanted(), "somebody")
    pid = first._process.pid
    await exports.stop()
    assert gone(pid)
    second = await exports.begin(place.wanted(format="jsonl"), "somebody")
    assert len([part async for part in second.parts()]) == 1


async def test_what_arrives_while_an_export_runs_is_not_met_twice(place: Place) -> None:
    await place.fill(3_000, TEXT)
    exports = place.exports()
    export = await exports.begin(place.wanted(format="jsonl"), "somebody")
    parts = export.parts()
    got = [await anext(parts)]
    # Behind the place that is reached, and before it.
    await place.road.pipeline.accept(
        [reading("d1", {"v": "late"}, ts=NOW), reading("d1", {"v": "new"}, ts=NOW + 9_000)]
    )
    got += [part async for part in parts]
    lines = b"".join(got).splitlines()
    times = [line.split(b'"ts":')[1].split(b",")[0] for line in lines[:-1]]
    assert sorted(set(times)) == times
    assert len(times) in (3_000, 3_001)


async def test_an_import_has_one_slice_on_the_road_and_waits_after_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports_module, "SLICE", 50)
    await place.fill(0)
    pipeline = place.road.pipeline
    most = 0
    submit = pipeline.submit

    def counted(events: Any, done: Any = None, token: Any = None) -> None:
        nonlocal most
        submit(events, done, token)
        most = max(most, pipeline.waiting)

    monkeypatch.setattr(pipeline, "submit", counted)
    text = "time,device,key,value\r\n" + "".join(f'{NOW - n},d1,"v",{n}\r\n' for n in range(1_000))
    wanted = ImportWanted("csv", [("d1", 1)], NOW)
    async with place.imports().opened(wanted, nobody) as one:
        await one.take(text.encode())
        async for _ in one.finish():
            pass
        assert (one.report.points, one.report.readings, one.done) == (1_000, 1_000, True)
    assert most == 50
    # The last reading comes by itself: others of its time could have followed.
    assert len(place.pauses) == 21
    assert all(pause > 0 for pause in place.pauses)


async def test_an_import_stands_back_while_the_road_is_full(tmp_path: Path, place: Place) -> None:
    await place.fill(0)
    pipeline = place.road.pipeline
    # As many live readings as there is room for: devices are stopped, too.
    for n in range(pipeline._queue_events):
        pipeline.submit([reading("d1", {"v": n}, ts=NOW + n)])
    assert pipeline.full
    async with place.imports().opened(ImportWanted("jsonl", [("d1", 1)], NOW), nobody) as one:
        await one.take(b'{"device":"d1","ts":%d,"values":{"w":1}}\n' % NOW)
        async for _ in one.finish():
            pass
        assert one.report.points == 1


async def test_an_import_that_is_left_leaves_neither_process_nor_file(place: Place) -> None:
    await place.fill(0)
    imports = place.imports()
    folder = place.path.parent / "imports"
    pid = 0
    with contextlib.suppress(asyncio.CancelledError):
        async with imports.opened(ImportWanted("home-assistant", [("d1", 1)], NOW), nobody) as one:
            await one.take(b"SQLite format 3\0" + b"\0" * 100_000)
            pid = one._process.pid or 0
            assert [file.name for file in folder.iterdir()] == ["import.db"]
            with pytest.raises(TooMany):
                async with imports.opened(ImportWanted("csv", [], NOW), nobody):
                    pass
            raise asyncio.CancelledError
    assert gone(pid)
    assert list(folder.iterdir()) == []
    with pytest.raises(Invalid, match="first line"):
        async with imports.opened(ImportWanted("csv", [], NOW), nobody) as one:
            await one.take(b"a,b\n")
    # The process has read a file that was wrong, and reads the next.
    async with imports.opened(ImportWanted("csv", [("d1", 1)], NOW), nobody) as one:
        await one.take(f'time,device,"v"\r\n{NOW},d1,1\r\n'.encode())
        async for _ in one.finish():
            pass
    assert one.report.points == 1


async def test_imported_points_are_neither_late_nor_live(place: Place) -> None:
    await place.fill(0)
    seen: list[Any] = []
    place.road.bus.tap(lambda seq, events: seen.extend(events))
    async with place.imports().opened(ImportWanted("csv", [("d1", 1)], NOW), nobody) as one:
        await one.take(f'time,device,"v"\r\n{NOW - 9 * DAY},d1,1\r\n'.encode())
        async for _ in one.finish():
            pass
    assert [type(event) for event in seen] == [ReadingImported]
    from relevo.domain.quality import is_late, quality, source_of

    number = quality(seen[0].source, seen[0].ts, seen[0].received)
    assert (source_of(number), is_late(number)) == ("imported", False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("under-way") / "data") as one:
        one.register("big")
        send(one, "big", [(n, {"v": TEXT}) for n in range(3_000)])
        yield one


def programs(server: RunningServer) -> list[psutil.Process]:
    found = []
    for one in psutil.Process(server.pid).children():
        with contextlib.suppress(psutil.Error):
            if "relevo.exchange.program" in one.cmdline():
                found.append(one)
    return found


def asked(server: RunningServer) -> tuple[socket.socket, str]:
    """An export over a socket of its own, whose beginning has come, and its name."""
    connection = socket.create_connection(("127.0.0.1", server.http_port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    head = f"Host: 127.0.0.1:{server.http_port}\r\nAuthorization: Bearer {server.token}"
    connection.sendall(f"GET /api/v1/devices/big/telemetry.csv HTTP/1.1\r\n{head}\r\n\r\n".encode())
    head = connection.recv(1_024).decode()
    assert head.startswith("HTTP/1.1 200 ")
    return connection, head.split("x-relevo-export: ")[1].split()[0]


def test_a_client_that_goes_away_leaves_nothing_running(server: RunningServer) -> None:
    connection, _ = asked(server)
    held = programs(server)
    assert len(held) == 1
    connection.close()
    ended, _ = psutil.wait_procs(held, 30)
    assert ended == held
    assert server.api.get("/api/v1/devices/big").status_code == 200


def test_a_client_that_reads_slowly_is_waited_for(server: RunningServer) -> None:
    connection, export = asked(server)
    with connection:
        (process,) = programs(server)
        # Once nothing moves any more, nothing gathers either.
        used = -1.0
        while used != (used := sum(process.cpu_times()[:2])):
            time.sleep(0.3)
        answer = server.api.get(f"/api/v1/exports/{export}").json()
        assert answer["expected"] == 3_000
        assert answer["points"] < 3_000
        got = 0
        last = b""
        connection.settimeout(30)
        while not last.endswith(b"\r\n0\r\n\r\n"):
            part = connection.recv(65_536)
            got += len(part)
            last = (last + part)[-7:]
    assert got > 3_000 * len(TEXT)
    assert server.api.get(f"/api/v1/exports/{export}").status_code == 404


def test_a_file_that_ends_early_has_no_end(server: RunningServer) -> None:
    connection, _ = asked(server)
    with connection:
        for process in programs(server):
            process.kill()
        got = b""
        connection.settimeout(30)
        while part := connection.recv(65_536):
            got += part
    assert not got.endswith(b"\r\n0\r\n\r\n")


def test_a_device_fetches_its_own_past_alone(server: RunningServer) -> None:
    key = server.register("own")
    send(server, "own", [(1, {"v": 1})])
    import httpx

    for name, status in (("own", 200), ("big", 401)):
        answer = httpx.get(
            f"{server.http}/api/v1/devices/{name}/telemetry.jsonl",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
        )
        assert answer.status_code == status
    assert server.api.get("/api/v1/devices/none/telemetry.csv").status_code == 404
    wrong = server.api.get("/api/v1/exports", params={"devices": "big,none"})
    assert (wrong.status_code, "'none'" in wrong.json()["detail"]) == (422, True)
    wrong = server.api.get("/api/v1/exports", params={"zone": "Mars/Olympus"})
    assert (wrong.status_code, "zone" in wrong.json()["detail"]) == (422, True)


def test_nothing_at_all_is_a_whole_file(server: RunningServer) -> None:
    query = {"devices": "big", "from": BEGIN - 1_000, "to": BEGIN}
    assert server.api.get("/api/v1/exports", params=query).text == "time,device\r\n"
    empty = server.api.get("/api/v1/exports", params=query | {"format": "jsonl"})
    assert empty.json() == {"end": True, "readings": 0, "points": 0}
