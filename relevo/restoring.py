"""Bringing a data directory back from a backup, or nothing at all.

Everything of the file is read and compared with its manifest, then unpacked beside what is there, the database looked
through by SQLite, and only then does it take its place (:mod:`relevo.swap`).
"""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from relevo import swap
from relevo.directory import DataDirectory
from relevo.errors import ConfigurationError, Conflict, Damaged, StoreUnavailable
from relevo.store.archive import Archive, Manifest
from relevo.store.backup import complaints, open_copy
from relevo.store.db import FILE_NAME
from relevo.store.schema import HEAD, current

_SPARE: Final = 16 * 1024 * 1024
Tell = Callable[[str, int, int], None]


class Restored(NamedTuple):
    """``aside`` is where that is which was there before, ``None`` when nothing was."""

    manifest: Manifest
    aside: Path | None


def check_schema(archive: Archive) -> None:
    """Raises :class:`ConfigurationError` for a backup of a newer Relevo."""
    schema = archive.manifest.schema
    if not schema.isdigit() or int(schema) > int(HEAD):
        raise ConfigurationError(
            f"{archive.path} was made by Relevo {archive.manifest.relevo} with schema {schema}, which is newer than "
            f"this one ({HEAD}): install that version, or a newer one"
        )


def restore(
    file: Path, data: Path, now_ms: int, tell: Tell = lambda phase, done, total: None, *, replace: bool = False
) -> Restored:
    """Bring ``data`` back to what is in ``file``; with ``replace`` what is there is kept aside.

    Raises :class:`Damaged` for a file that is not what it was, :class:`ConfigurationError` for one of a newer Relevo
    and for a directory in which a server runs, :class:`Conflict` for a directory that is not empty,
    :class:`StoreUnavailable` when there is no room, and :class:`OSError`. After each of them everything is as it was.
    """
    with Archive(file) as archive:
        check_schema(archive)
        total = archive.size
        archive.verify(lambda done: tell("verifying", done, total))
        directory = DataDirectory(data)
        directory.open()
        try:
            there = swap.held(data)
            if there and not replace:
                raise Conflict(
                    f"{data} is not empty ({', '.join(there[:3])}{' …' if len(there) > 3 else ''}): choose another "
                    "directory with --data DIR, or --replace, which keeps what is there aside"
                )
            free = shutil.disk_usage(data).free
            if free < total + _SPARE:
                raise StoreUnavailable(
                    f"{(total + _SPARE) / 1e6:,.0f} MB are needed in {data} and {free / 1e6:,.0f} MB are free"
                )
            made = data / f"{swap.MAKING}{secrets.token_hex(4)}"
            try:
                _unpack(archive, made / swap.FILES, tell)
                aside = _aside(data, now_ms)
                swap.commit(data, made, aside)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            swap.finish(data)
            return Restored(archive.manifest, data / aside if there else None)
        finally:
            directory.close()


def _aside(data: Path, now_ms: int) -> str:
    name = f"{swap.ASIDE}{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%dT%H-%M-%SZ}"
    found, number = name, 1
    while (data / found).exists():
        number += 1
        found = f"{name}-{number}"
    return found


def _unpack(archive: Archive, folder: Path, tell: Tell) -> None:
    done, total = 0, archive.size
    folder.mkdir(parents=True, mode=0o700)
    for part in archive.manifest.parts:
        file = folder / part.name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = part.mode & 0o644 | 0o600
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as out:
            for piece in archive.read(part):
                out.write(piece)
                done += len(piece)
                tell("unpacking", done, total)
            out.flush()
            os.fsync(out.fileno())
    tell("checking", 0, 1)
    check_database(archive, folder / FILE_NAME)
    tell("checking", 1, 1)


def check_database(archive: Archive, file: Path) -> None:
    """Whether the unpacked database is whole and the one that the manifest speaks of. Raises :class:`Damaged`."""
    if not file.is_file():
        raise Damaged(f"{archive.path} holds no database")
    connection = open_copy(file)
    try:
        wrong = complaints(connection, "integrity_check")
        if wrong:
            raise Damaged(f"the database in {archive.path} is damaged: {wrong[0]}")
        found = current(connection)
    except sqlite3.Error as error:
        raise Damaged(f"the database in {archive.path} cannot be read: {error}") from None
    finally:
        connection.close()
    if found != archive.manifest.schema:
        raise Damaged(f"the database in {archive.path} has schema {found}, its manifest says {archive.manifest.schema}")
