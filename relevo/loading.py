"""What a start reads from the database."""

import contextlib
import secrets
import sqlite3
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from relevo.directory import PASSWORD_FILE, DataDirectory
from relevo.domain.accounts import Account, Role
from relevo.domain.alerts import Alert
from relevo.domain.commands import Command
from relevo.domain.devices import Device
from relevo.domain.erasing import DEVICE
from relevo.domain.notices import REPEATED_MS
from relevo.domain.passwords import normalised
from relevo.domain.records import Kept, Record
from relevo.domain.rollouts import Progress, Rollout
from relevo.domain.twins import Twin
from relevo.errors import ConfigurationError, StoreUnavailable
from relevo.files import write_file
from relevo.http.hashing import hash_now
from relevo.http.tokens import SIGNING_KEYS, SigningKeys
from relevo.store import accounts, commands, devices, erasing, inbox, latest, records
from relevo.store import alerts as store_alerts
from relevo.store import presence as store_presence
from relevo.store import sessions as store_sessions
from relevo.store import twins as store_twins
from relevo.store import updates as store_updates
from relevo.store.db import core_on, open_writer

ADMINISTRATOR: Final = "admin"


class Loaded(NamedTuple):
    """What the database holds that is needed in memory."""

    records: list[Record]
    signing_keys: bytes
    registered: list[Device]
    documents: dict[str, bytes]
    sessions: list[Any]
    retained: list[Any]
    commands: list[Command]
    command_keys: list[tuple[str, str, str, str, int]]
    presence: dict[str, tuple[bool, int]]
    alerts: list[Alert]
    twins: dict[str, Twin]
    told: list[tuple[str, str, int, str]]
    updating: list[Progress]
    updated: dict[str, tuple[str, str]]
    removed: list[str]


def load(path: Path, directory: DataDirectory, password: str, now_ms: int) -> tuple[Loaded, str]:
    """What is needed in memory, with a first administrator where there is nobody yet.

    Their ``password`` is generated, written to the directory and answered when none is given. Raises
    :class:`ConfigurationError`, ``sqlite3.Error`` and ``SQLAlchemyError``.
    """
    generated = ""
    connection = open_writer(path)
    core = None
    try:
        connection.execute("BEGIN IMMEDIATE")
        core = core_on(connection)
        known = records.load(core)
        if not any(isinstance(one, Account) for one in known):
            account, generated = _first_administrator(core, directory, password, now_ms)
            known.append(account)
        signing_keys = accounts.secret(core, SIGNING_KEYS, SigningKeys.fresh())
        registered, numbers = devices.load_all(core)
        opened, keys = commands.load_open(core, now_ms)
        there = store_presence.load(core)
        live = store_alerts.load_live(core, now_ms)
        told = inbox.recent(core, now_ms - REPEATED_MS)
        rolling = [one.id for one in known if isinstance(one, Rollout) and one.is_open]
        updating, updated = store_updates.load(core, rolling), store_updates.newest(core)
        core.commit()
        if connection.in_transaction:
            connection.execute("COMMIT")
        by_number = latest.load_documents(connection)
        documents = {device: by_number[number] for device, number in numbers.items() if number in by_number}
        kept, retained = store_sessions.load(connection), store_sessions.load_retained(connection)
        twins = store_twins.load(connection)
        removed = [
            one.erased.name for one in erasing.pending(connection) if one.erased.kind == DEVICE and not one.again
        ]
        found = Loaded(
            known,
            signing_keys,
            registered,
            documents,
            kept,
            retained,
            opened,
            keys,
            there,
            live,
            twins,
            told,
            updating,
            updated,
            removed,
        )
        return found, generated
    finally:
        if core is not None:
            with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
                core.close()
            core.engine.dispose()
        connection.close()


def _first_administrator(core: Any, directory: DataDirectory, password: str, now_ms: int) -> tuple[Account, str]:
    generated = ""
    if not password:
        password = generated = secrets.token_urlsafe(12)
        write_file(directory.path / PASSWORD_FILE, f"{password}\n".encode())
    else:
        # Of a database that is there no more.
        (directory.path / PASSWORD_FILE).unlink(missing_ok=True)
    try:
        password_hash = hash_now(normalised(password))
    except StoreUnavailable as error:
        raise ConfigurationError(f"the first administrator's password cannot be hashed: {error}") from error
    account = Account(ADMINISTRATOR, Role.ADMINISTRATOR.name.lower(), password_hash, now_ms, password_changed_at=now_ms)
    records.apply(core, [Kept(account)])
    return account, generated
