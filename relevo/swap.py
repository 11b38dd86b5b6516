"""Putting a restored directory in the place of what a data directory holds, so that a crash leaves one of both whole.

Theory. A data directory may be a mount point, which cannot be renamed, and holds several files that belong together,
so no single rename can exchange them. What comes is therefore made ready beside them, in a folder of its own, and seen
onto the disk. Renaming that folder to :data:`READY` is the moment at which the restore is done: before it everything is
as it was, and after it :func:`finish`, which every start calls under the directory's lock, carries out what is left,
from wherever it stopped: first all that was there goes into a folder aside, then, once a mark says that it did, what
was made ready takes its place.
"""

import shutil
from pathlib import Path
from typing import Final

from relevo.files import sync, write_file

READY: Final = "restored"
MAKING: Final = "restoring-"
ASIDE: Final = "before-restore-"
FILES: Final = "files"
BACKUPS: Final = "backups"
LOCK: Final = "lock"
BACKUP_LOCK: Final = "backup.lock"
_NAME: Final = "aside"
_MOVED: Final = "moved"


def stays(name: str) -> bool:
    """Whether an entry of a data directory is left where it is by a restore, and left out by a backup."""
    return name in (LOCK, BACKUP_LOCK, BACKUPS, READY) or name.startswith((MAKING, ASIDE))


def held(data: Path) -> list[str]:
    """What a restore would put aside, by name."""
    return sorted(one.name for one in data.iterdir() if not stays(one.name)) if data.is_dir() else []


def pending(data: Path) -> bool:
    """Whether a restore is decided and not carried out yet."""
    return (data / READY).is_dir()


def commit(data: Path, made: Path, aside: str) -> None:
    """Decide for what is in ``made / FILES``; what is there goes to the folder ``aside`` of ``data``, then.

    ``made`` is in ``data``. Raises :class:`OSError`.
    """
    write_file(made / _NAME, aside.encode())
    _sync_tree(made)
    made.rename(data / READY)
    sync(data)


def finish(data: Path) -> None:
    """Carry out what was decided, harmless when nothing was; drop what never was. Raises :class:`OSError`."""
    ready = data / READY
    if ready.is_dir():
        aside = data / (ready / _NAME).read_text()
        if not (ready / _MOVED).exists():
            names = held(data)
            if names:
                aside.mkdir(mode=0o700, exist_ok=True)
            for name in names:
                (data / name).rename(aside / name)
            if names:
                sync(aside)
            sync(data)
            write_file(ready / _MOVED, b"")
            sync(ready)
        files = ready / FILES
        for one in sorted(files.iterdir()) if files.is_dir() else ():
            one.rename(data / one.name)
        sync(data)
        # By another name at once, so that what is half removed is never taken for something to be done.
        ready.rename(data / f"{MAKING}done")
        sync(data)
    for one in data.glob(f"{MAKING}*"):
        shutil.rmtree(one, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for one in folder.rglob("*"):
        sync(one)
    sync(folder)
