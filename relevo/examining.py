"""Looking for damage in a data directory or a backup, and saving what can be read."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from relevo import swap
from relevo.directory import PEPPER_FILE, DataDirectory
from relevo.errors import Damaged, NotFound, StoreUnavailable
from relevo.restoring import check_schema
from relevo.store.archive import Archive
from relevo.store.checking import Report, check
from relevo.store.db import FILE_NAME
from relevo.store.salvage import salvage

Tell = Callable[[str, int, int], None]


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder for copies; one that is left behind is removed with the next start."""
    folder = Path(tempfile.mkdtemp(prefix=swap.MAKING, dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_data(data: Path, tell: Tell = lambda phase, done, total: None) -> Report:
    """What is damaged in a data directory, of a Relevo that runs or not. Raises :class:`NotFound`, :class:`OSError`."""
    database = data / FILE_NAME
    if not database.is_file():
        raise NotFound(f"there is no database in {data}: name the data directory with --data DIR")
    with _scratch(data) as scratch:
        report = check(database, scratch, tell)
    pepper = data / PEPPER_FILE
    if not pepper.is_file() or not pepper.stat().st_size:
        report.note("file", f"{PEPPER_FILE} is missing: keys of devices cannot be checked; take it from a backup")
    return report


def check_backup(file: Path, tell: Tell = lambda phase, done, total: None) -> Report:
    """What is damaged in a backup, its database included. Raises :class:`OSError`, :class:`StoreUnavailable` without
    room beside it to unpack, and :class:`relevo.errors.ConfigurationError` for one of a newer Relevo."""
    report = Report()
    try:
        with Archive(file) as archive:
            check_schema(archive)
            total = archive.size
            if shutil.disk_usage(file.absolute().parent).free < total:
                raise StoreUnavailable(f"{total / 1e6:,.0f} MB are needed beside {file} to look into it")
            with _scratch(file.absolute().parent) as scratch:
                done = 0
                for part in archive.manifest.parts:
                    with (scratch / "part").open("wb") as out:
                        for piece in archive.read(part):
                            done += len(piece)
                            tell("unpacking", done, total)
                            out.write(piece)
                    if part.name == FILE_NAME:
                        (scratch / "part").replace(scratch / FILE_NAME)
                database = scratch / FILE_NAME
                if not database.exists():
                    report.note("file", f"{file} holds no database")
                    return report
                found = check(database, scratch, tell)
                report.findings += found.findings
                report.rows = found.rows
    except Damaged as error:
        report.note("file", str(error))
    return report


def save(data: Path, folder: Path, now_ms: int, tell: Tell = lambda phase, done, total: None) -> Report:
    """Save what can be read; see :func:`relevo.store.salvage.salvage`. Raises :class:`relevo.errors.ConfigurationError`
    while a Relevo runs there, too."""
    if not data.is_dir():
        raise NotFound(f"there is no directory {data}")
    directory = DataDirectory(data)
    directory.open()
    try:
        return salvage(data, folder, now_ms, tell)
    finally:
        directory.close()
