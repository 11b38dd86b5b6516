"""Bringing a database to the schema of this version."""

import contextlib
import sqlite3
import sys
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from relevo.errors import ConfigurationError
from relevo.log import get_logger
from relevo.store import (
    alerts,
    audit,
    commands,
    devices,
    erasing,
    inbox,
    journal,
    latest,
    presence,
    readings,
    records,
    sessions,
    status_log,
    timeline,
    twins,
    unclaimed,
    updates,
    webhooks,
)
from relevo.store.db import core_on, make_shrinkable, metadata, open_writer
from relevo.store.history import chunks, rollups, sizes, stale, trimming

__all__ = ["HEAD", "metadata", "prepare"]

log = get_logger("relevo.store")

HEAD: Final = "0025"
TABLES: Final = (
    journal.journal,
    latest.latest,
    devices.devices,
    unclaimed.unclaimed,
    timeline.timeline,
    sessions.mqtt_sessions,
    sessions.mqtt_deliveries,
    sessions.mqtt_incoming,
    sessions.mqtt_retained,
    *records.TABLES.values(),
    audit.audit,
    commands.commands,
    presence.presence,
    alerts.alerts,
    twins.twins,
    inbox.notifications,
    webhooks.deliveries,
    status_log.status_log,
    readings.readings,
    chunks.series,
    chunks.times,
    chunks.chunks,
    chunks.erasures,
    chunks.compaction,
    trimming.trims,
    sizes.sizes,
    rollups.rollups,
    stale.marks,
    stale.stale,
    erasing.scrubs,
    updates.rollout_devices,
)


def current(connection: sqlite3.Connection) -> str | None:
    """The schema version of an open database; None for an empty one."""
    with contextlib.suppress(sqlite3.OperationalError):
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None
    return None


def _create(connection: sqlite3.Connection) -> None:
    """An empty database gets today's tables at once; a test holds them equal to the sum of all migrations."""
    connection.execute("BEGIN IMMEDIATE")
    core = core_on(connection)
    metadata.create_all(core)
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.execute("INSERT INTO alembic_version VALUES (?)", (HEAD,))
    core.commit()
    if connection.in_transaction:
        connection.execute("COMMIT")
    core.close()


def prepare(path: Path) -> None:
    """Create or upgrade the database at ``path``.

    Raises :class:`ConfigurationError` when it belongs to a newer Relevo or cannot be opened.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = open_writer(path)
        version = current(connection)
        if version == HEAD:
            return
        if version is None:
            _create(connection)
            return
        # Alembic costs 0.4 s and 11 MB to import, and is needed after an upgrade only.
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        core = core_on(connection)
        config.attributes["connection"] = core
        connection.execute("BEGIN IMMEDIATE")
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"the database {path} has schema {version}, which this version does not know: "
                "it was written by a newer Relevo; install that one or restore a backup"
            ) from error
        except SQLAlchemyError as error:
            raise ConfigurationError(
                f"the database {path} could not be brought from schema {version} to {HEAD} and is as it was: "
                f"{error}; keep a copy of it and report this"
            ) from error
        finally:
            if core.in_transaction() and connection.in_transaction and sys.exc_info()[0] is not None:
                core.rollback()
        core.commit()
        if connection.in_transaction:
            connection.execute("COMMIT")
        core.close()
        if not make_shrinkable(connection, path):
            log.warning(
                "database_never_shrinks", file=str(path), do="make room for a copy of it; the next upgrade tries again"
            )
    except sqlite3.Error as error:
        raise ConfigurationError(f"the database {path} cannot be opened: {error}; try `relevo doctor`") from error
    finally:
        if connection is not None:
            connection.close()
