"""Real firmware in processes of its own: one MicroPython and one folder for each board, as hardware has it.

Boards are registered over HTTP and get the files that ``relevo flash`` writes. A process that ends with 3 has reset
itself and is started again; any other end is a crash, which is counted, and the board starts again, too. Relays are
proven by the levels of the pins, which the board writes into its folder.
"""

import asyncio
import contextlib
import secrets
import shutil
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from relevo.clock import Clock, SystemClock
from relevo.errors import ConfigurationError, NotFound
from relevo.flashing import building, preparing, sources
from relevo.flashing.preparing import Network, Server
from relevo.flashing.sources import Profile
from relevo.simulator.firmware_board import Board, interpreter_here
from relevo.simulator.generators import source
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.native_api import found

MOST: Final = 1_000
HEAP: Final = "100k"
_VERSION: Final = "1.0.0"
_PROBLEMS_SHOWN: Final = 20
_NETWORK: Final = "simulated"


@dataclass(frozen=True, slots=True)
class FirmwareOptions:
    """``boards`` of a firmware ``profile`` run for ``duration`` seconds after coming up over ``ramp`` seconds.

    ``steer`` is seconds between two relays that an operator switches, 0 for none. ``remove`` removes the devices at the
    end. ``interpreter`` is MicroPython, looked for when not given (:func:`interpreter_here`).
    """

    boards: int
    profile: str = "relay16"
    duration: float = 60.0
    ramp: float = 0.0
    steer: float = 1.0
    http: str = "http://127.0.0.1:8000"
    mqtt_port: int = 1883
    username: str = "admin"
    password: str = ""
    token: str = ""
    seed: int = 1
    remove: bool = False
    interpreter: Path | None = None

    def check(self) -> Profile:
        """The profile meant. Raises :class:`ConfigurationError` naming the first option that makes no sense."""
        parts = urlsplit(self.http)
        rules = [
            (1 <= self.boards <= MOST, f"real-firmware must be 1 to {MOST} boards"),
            (self.duration > 0, "duration must be above 0 seconds"),
            (self.ramp >= 0, "ramp must be 0 seconds or more"),
            (self.steer >= 0, "steer must be 0 seconds or more"),
            (parts.scheme == "http" and bool(parts.hostname), "real firmware is told a plain http address here"),
            (bool(self.token or self.password), "an administrator's password or token is needed to register boards"),
        ]
        for holds, text in rules:
            if not holds:
                raise ConfigurationError(text)
        try:
            return sources.profile(self.profile)
        except NotFound as error:
            raise ConfigurationError(str(error)) from None


@dataclass(frozen=True, slots=True)
class FirmwareReport:
    """Counts of boards and commands; seconds from the start of a process to ``online``, kilobytes of its memory.

    ``resets`` are starts that the firmware asked for, ``ended`` counts other ends by exit code. ``proven`` are the
    confirmed commands after which the pin had the level that was asked for.
    """

    boards: int
    profile: str
    online: int
    online_p50_s: float | None
    online_max_s: float | None
    memory_p50_kb: int | None
    memory_max_kb: int | None
    resets: int
    ended: dict[str, int]
    told: int
    confirmed: int
    proven: int
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 when a board did not come online, crashed, or did not do what the server says that it did."""
        return 1 if self.online < self.boards or self.proven < self.told or self.ended or self.problems else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


async def simulate_firmware(
    options: FirmwareOptions, *, stop: asyncio.Event | None = None, clock: Clock | None = None
) -> FirmwareReport:
    """Run the boards. Raises :class:`ConfigurationError`, :class:`relevo.errors.Unbuildable`, and :class:`HttpFailed`
    when boards cannot be registered."""
    profile, clock, stop = options.check(), clock or SystemClock(), stop or asyncio.Event()
    interpreter = (options.interpreter or interpreter_here()).resolve()
    start = sources.place() / "host" / "start.py"
    if not start.is_file():
        raise ConfigurationError(
            "what stands for hardware (firmware/micropython/host) did not come with this installation"
        )
    async with HttpClient(options.http, tls=ssl.create_default_context()) as http, _folder() as place:
        http.token = options.token
        if not http.token:
            await http.login(options.username, options.password)
        app = place / "app"
        await asyncio.to_thread(_build, profile, app)
        boards = [await _prepared(http, number, profile, options, place, clock) for number in range(options.boards)]
        count = Count()
        command = [str(interpreter), "-X", f"heapsize={HEAP}", str(start)]
        tasks = [
            asyncio.create_task(_later(one, [*command, str(one.folder), str(app)], options), name=one.uuid)
            for one in boards
        ]
        if options.steer and _relays(profile):
            tasks.append(asyncio.create_task(steering(http, boards, profile, options, count), name="operator"))
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), options.ramp + options.duration)
            memory = sorted(kb for kb in (one.memory_kb() for one in boards) if kb is not None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for one in boards if options.remove else ():
            (await http.delete(f"/api/v1/devices/{one.device}")).expect(200, 202, 204, 404)
    return _report(options, boards, count, memory)


@dataclass(slots=True)
class Count:
    """What an operator told relays to do, and what came of it."""

    told: int = 0
    confirmed: int = 0
    proven: int = 0
    problems: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="relevo-boards-"))
    try:
        yield place
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _build(profile: Profile, app: Path) -> None:
    app.mkdir()
    for name, data in building.files_of(profile, _VERSION):
        (app / name).write_bytes(data)


async def _prepared(
    http: HttpClient, number: int, profile: Profile, options: FirmwareOptions, place: Path, clock: Clock
) -> Board:
    """A board that is registered and has its key. Raises :class:`HttpFailed`."""
    # Who a board is follows from the last six digits, so these are new each time.
    mac = f"020000{secrets.randbelow(1 << 12):03x}{number:03x}"
    external_id = preparing.identity(profile.contract, mac)
    name = f"Firmware {mac[-6:]}"
    row = f"contract,serial,key,name,type,site,tags\n{profile.contract},{external_id},,{name},{profile.board},,\n"
    made = (await http.post("/api/v1/factory", {"csv": row})).expect(200, 201)["rows"][0]
    if made["outcome"] != "created":
        raise HttpFailed(f"board {external_id} was not registered: {made}")
    parts = urlsplit(options.http)
    where = Server(str(parts.hostname), parts.port or 80, options.mqtt_port)
    board = Board(number + 1, external_id, mac, place / f"board-{number + 1}", clock)
    board.folder.mkdir()
    files = preparing.settings_of(profile, external_id, name, made["key"], where, Network(_NETWORK))
    for file, data in [building.board_profile(profile), *files]:
        (board.folder / file).write_bytes(data)
    board.device = await found(http, profile.contract, external_id)
    return board


async def _later(board: Board, command: Sequence[str], options: FirmwareOptions) -> None:
    await asyncio.sleep(options.ramp * (board.number - 1) / options.boards)
    await board.live(command)


def _relays(profile: Profile) -> list[int]:
    """The pins of its relays."""
    pins = profile.pins if isinstance(profile.pins, dict) else {}
    return list(pins.get("relays", ())) if profile.contract == "autocore" else []


async def steering(
    http: HttpClient, boards: list[Board], profile: Profile, options: FirmwareOptions, count: Count
) -> None:
    """An operator switches relays of boards that are online, and looks at the pins."""
    rng = source(options.seed, "operator", "relays")
    pins, low = _relays(profile), bool(profile.pins.get("low"))
    while True:
        await asyncio.sleep(options.steer)
        there = [one for one in boards if one.online_s is not None]
        if not there:
            continue
        board, channel = rng.choice(there), rng.randint(1, len(pins))
        pin = pins[channel - 1]
        on = board.level(pin) not in (0 if low else 1,)
        body = {"name": "relay", "params": {"channel": channel, "state": on}}
        count.told += 1
        try:
            shown = (await http.post(f"/api/v1/devices/{board.device}/commands?wait=10", body)).expect(200, 202)
        except HttpFailed as error:
            count.problems.append(f"board {board.number}: {error}")
            continue
        except asyncio.CancelledError:
            # Nobody waited for what became of it.
            count.told -= 1
            raise
        confirmed, level = shown["state"] == "confirmed", board.level(pin)
        right = level == (on != low)
        count.confirmed += confirmed
        count.proven += confirmed and right
        if not (confirmed and right):
            told = f"relay {channel} {'on' if on else 'off'} is {shown['state']}, the pin is {level}"
            count.problems.append(f"board {board.number}: {told}")


def _report(options: FirmwareOptions, boards: list[Board], count: Count, memory: list[int]) -> FirmwareReport:
    took = sorted(one.online_s for one in boards if one.online_s is not None)
    ended: Counter[str] = Counter()
    for one in boards:
        ended += one.ended
    problems = [text for one in boards for text in one.failures] + count.problems
    for one in boards:
        if one.online_s is None:
            problems.append(f"board {one.number} did not come online; it said last: {' / '.join(list(one.lines)[-3:])}")
    return FirmwareReport(
        boards=options.boards,
        profile=options.profile,
        online=len(took),
        online_p50_s=round(took[len(took) // 2], 3) if took else None,
        online_max_s=round(took[-1], 3) if took else None,
        memory_p50_kb=memory[len(memory) // 2] if memory else None,
        memory_max_kb=memory[-1] if memory else None,
        resets=sum(one.resets for one in boards),
        ended=dict(sorted(ended.items())),
        told=count.told,
        confirmed=count.confirmed,
        proven=count.proven,
        problems=problems[:_PROBLEMS_SHOWN],
    )
