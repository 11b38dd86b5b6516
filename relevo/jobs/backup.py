"""Makes backups, each in a process of its own (:mod:`relevo.store.backup`), and removes those that are not kept.

One at a time, on a schedule or when somebody asks. What there is is what lies in the folder: files that carry the time
at which they were begun as their name. One that fails is told to administrators, once until one succeeds or a day is
over, and tried again after a while; those that there are stay until the next one is whole.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from relevo.clock import Clock
from relevo.domain.rotation import kept
from relevo.errors import Conflict, NotFound, QueueFull, StoreUnavailable
from relevo.jobs.background import Background
from relevo.log import get_logger
from relevo.notifications import Notifications
from relevo.settings.table import Backup as BackupSettings
from relevo.store.backup import COPYING, FORMER, PARTIAL, SUFFIX, Failed, Made, Progress, decode_told, remove
from relevo.swap import BACKUPS

log = get_logger("relevo.jobs")

LOOK_S: Final = 60.0
AGAIN_MS: Final = 3_600_000
TOLD_AGAIN_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_NAME: Final = re.compile(r"relevo-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)" + re.escape(SUFFIX), re.ASCII)
_TIME: Final = "%Y-%m-%dT%H-%M-%SZ"
_GONE_S: Final = 2.0
_LINE_MOST: Final = 1024 * 1024
_FAILED: Final = {
    "en": ("The backup failed", "No backup could be made: {error}"),
    "es": ("La copia de seguridad falló", "No se pudo hacer ninguna copia de seguridad: {error}"),
    "pt": ("A cópia de segurança falhou", "Nenhuma cópia de segurança pôde ser feita: {error}"),
}


class Kept(NamedTuple):
    """A backup in the folder; ``created`` in milliseconds UTC."""

    name: str
    size: int
    created: int


class Backups:
    """Looks once a minute whether one is due."""

    def __init__(self, data: Path, settings: BackupSettings, notifications: Notifications, clock: Clock) -> None:
        # Of whoever makes one it is the folder in which this process was started.
        self._data = data.absolute()
        self._settings = settings
        self._notifications = notifications
        self._clock = clock
        self.folder = (settings.directory or data / BACKUPS).absolute()
        self._look = Background("backups")
        self._making: asyncio.Task[Made] | None = None
        self.progress: Progress | None = None
        self.last: Kept | None = None
        self.error = ""
        self.made = 0
        self.failed = 0
        self._failed_at: int | None = None
        self._told_at: int | None = None

    @property
    def running(self) -> bool:
        return self._making is not None

    def figures(self) -> dict[str, Any]:
        """How it stands: ``age_s`` is None while there is none, ``error`` why the last attempt failed."""
        last = self.last
        return {
            "every_h": self._settings.every_h,
            "last_at": last.created if last else None,
            "age_s": max(self._clock.now_ms() - last.created, 0) // 1000 if last else None,
            "size": last.size if last else 0,
            "made": self.made,
            "failed": self.failed,
            "error": self.error,
            "running": self.running,
        }

    def start(self) -> None:
        self._look.begin(self._run())
        log.info("backups_started", every_h=self._settings.every_h, directory=str(self.folder))

    async def stop(self) -> None:
        """One that is being made is ended and leaves nothing; harmless when it never began."""
        ended = await self._look.end()
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        if ended:
            log.info("backups_ended")

    async def look(self) -> None:
        """Make one when it is due, and drop what is not kept any more."""
        await self.files()
        now, every = self._clock.now_ms(), self._settings.every_h * _HOUR_MS
        if not every:
            return
        waits = self._failed_at is not None and 0 <= now - self._failed_at < AGAIN_MS
        if not self.running and not waits and (self.last is None or not 0 <= now - self.last.created < every):
            with contextlib.suppress(StoreUnavailable):
                await asyncio.shield(self.begin())
        await self.rotate()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("backups_wait", error=str(error))
            await asyncio.sleep(LOOK_S)

    # Making one

    def begin(self) -> "asyncio.Task[Made]":
        """Begin one; the task raises :class:`StoreUnavailable` when it failed, which is told then.

        Raises :class:`Conflict` while one is being made.
        """
        if self._making is not None:
            raise Conflict("a backup is being made already")
        task = asyncio.create_task(self._make(), name="backup")
        self._making = task
        task.add_done_callback(self._over)
        return task

    def _over(self, task: "asyncio.Task[Made]") -> None:
        self._making = self.progress = None
        if not task.cancelled():
            # Whoever began it need not wait for it.
            task.exception()

    def _free_name(self, now: int) -> Path:
        """Where one that begins at ``now`` (milliseconds UTC) goes; of two in a second, the next second's name."""
        while True:
            file = self.folder / f"relevo-{datetime.fromtimestamp(now / 1000, UTC):{_TIME}}{SUFFIX}"
            if not file.exists():
                return file
            now += 1_000

    async def _make(self) -> Made:
        now = self._clock.now_ms()
        file = await asyncio.to_thread(self._free_name, now)
        log.info("backup_began", file=str(file))
        try:
            await asyncio.to_thread(self._prepare)
            made = await self._through_process(file)
        except (StoreUnavailable, OSError) as error:
            self.failed += 1
            self.error, self._failed_at = str(error), now
            log.error("backup_failed", error=self.error)
            await self._tell(now)
            raise StoreUnavailable(self.error) from None
        self.made += 1
        self.error, self._failed_at, self._told_at = "", None, None
        self.last = Kept(file.name, made.size, now)
        log.info("backup_made", file=str(file), bytes=made.size, seq=made.seq, points=made.points)
        return made

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clear()

    def _clear(self) -> None:
        """What a killed one left behind; nobody else makes any under such a name."""
        for suffix in (PARTIAL, COPYING, FORMER):
            for one in self.folder.glob(f"relevo-*{SUFFIX}{suffix}"):
                remove(one)

    async def _through_process(self, file: Path) -> Made:
        command = (sys.executable, "-m", "relevo.store.backup", str(self._data), str(file))
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, limit=_LINE_MOST
        )
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                found = decode_told(line)
                if isinstance(found, Failed):
                    raise StoreUnavailable(found.error)
                if isinstance(found, Made):
                    return found
                self.progress = found
            raise StoreUnavailable("the process that makes backups ended")
        finally:
            if not await _end(process):
                await asyncio.to_thread(self._clear)

    async def _tell(self, now: int) -> None:
        if self._told_at is not None and 0 <= now - self._told_at < TOLD_AGAIN_MS:
            return
        self._told_at = now
        title, text = _FAILED[self._notifications.language_or_default(self._notifications.preferences_of(""))]
        try:
            await self._notifications.raise_("critical", "backup", title, text.format(error=self.error))
        except (QueueFull, StoreUnavailable) as error:
            log.warning("backup_failure_not_told", error=str(error))

    # What there is

    async def files(self) -> list[Kept]:
        """The backups in the folder, newest first."""
        found = await asyncio.to_thread(self._listed)
        self.last = found[0] if found else None
        return found

    def _listed(self) -> list[Kept]:
        found = []
        for one in self.folder.iterdir() if self.folder.is_dir() else ():
            created = _created(one.name)
            if created is not None:
                with contextlib.suppress(FileNotFoundError):
                    found.append(Kept(one.name, one.stat().st_size, created))
        return sorted(found, key=lambda one: one.created, reverse=True)

    def file(self, name: str) -> Path:
        """The file of a backup. Raises :class:`NotFound`."""
        if _created(name) is None or not (self.folder / name).is_file():
            raise NotFound(f"there is no backup {name[:64]!r}")
        return self.folder / name

    async def remove(self, name: str) -> None:
        """Raises :class:`NotFound`, and :class:`StoreUnavailable` when the folder does not let go of it."""
        file = self.file(name)
        try:
            await asyncio.to_thread(remove, file)
        except OSError as error:
            raise StoreUnavailable(f"{file} cannot be removed: {error.strerror}") from None
        await self.files()

    async def rotate(self) -> list[str]:
        """Remove what is not kept any more; the names of it."""
        there = await self.files()
        one = self._settings
        stay = kept(
            (file.created for file in there), self._clock.now_ms(), one.daily, one.weekly, one.monthly, one.age_days
        )
        gone = [file.name for file in there if file.created not in stay]
        for name in gone:
            with contextlib.suppress(NotFound, StoreUnavailable):
                await self.remove(name)
                log.info("backup_removed", file=name)
        return gone


def _created(name: str) -> int | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        return round(datetime.strptime(found[1], _TIME).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


async def _end(process: asyncio.subprocess.Process) -> bool:
    """Politely, so that it removes what is half done; false when it had to be killed."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(_GONE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return True
