import gc
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from relevo.errors import ConfigurationError
from relevo.store import schema
from relevo.store.db import core_on, open_writer
from relevo.store.writer import Writer
from tests.store.samples import commit, reading, registered

MIGRATIONS = Path(schema.__file__).parent / "migrations"


def config_for(directory: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory))
    return config


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database that went through every migration from nothing."""
    connection = open_writer(tmp_path / "migrated.db")
    core = core_on(connection)
    config = config_for(MIGRATIONS)
    config.attributes["connection"] = core
    command.upgrade(config, "head")
    core.commit()
    yield connection
    core.close()
    core.engine.dispose()
    connection.close()


@pytest.fixture
def created(path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_writer(path)
    yield connection
    connection.close()


def likeness(connection: sqlite3.Connection) -> dict[str, Any]:
    """Everything SQLite knows about the tables, without the names that nobody chose."""
    found: dict[str, Any] = {}
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        indexes = []
        for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})"):
            columns = [row[2:] for row in connection.execute(f"PRAGMA index_xinfo({name})")]
            indexes.append(("" if name.startswith("sqlite_") else name, unique, origin, partial, columns))
        found[table] = {
            "columns": connection.execute(f"PRAGMA table_xinfo({table})").fetchall(),
            "keys": sorted(connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()),
            "indexes": sorted(indexes, key=repr),
        }
    for kind, name, table, text in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        found.setdefault(table, {}).setdefault("texts", {})[kind, "" if name.startswith("sqlite_") else name] = (
            sorted(clauses(text)) if text else None
        )
    return found


def clauses(statement: str) -> list[str]:
    """The parts of a CREATE statement in one spelling: what PRAGMAs do not tell is here, above all every CHECK."""
    head, body = re.fullmatch(r"([^(]+)\((.*)\)([^)]*)", statement, re.DOTALL).groups()[:2]  # type: ignore[union-attr]
    parts, depth, part = [], 0, ""
    for letter in body:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [" ".join(one.replace('"', "").split()).upper() for one in (head, *parts, part)]


def test_a_new_database_equals_one_that_took_every_migration(
    created: sqlite3.Connection, migrated: sqlite3.Connection
) -> None:
    assert set(likeness(created)) == set(likeness(migrated))
    for table, wanted in likeness(created).items():
        # Alembic's own table differs in the name of its key.
        if table != "alembic_version":
            assert likeness(migrated)[table] == wanted, table


def test_autogenerate_finds_nothing_to_do(migrated: sqlite3.Connection, created: sqlite3.Connection) -> None:
    for connection in (migrated, created):
        core = core_on(connection)
        # Not the defaults: Alembic takes an empty text for none. They are compared as text above.
        context = MigrationContext.configure(core, opts={"compare_type": True})
        try:
            assert compare_metadata(context, schema.metadata) == []
        finally:
            core.close()


def test_the_table_list_names_every_table() -> None:
    assert set(schema.TABLES) == set(schema.metadata.tables.values())


def test_head_is_the_newest_script_and_both_kinds_of_database_say_so(
    created: sqlite3.Connection, migrated: sqlite3.Connection
) -> None:
    assert ScriptDirectory.from_config(config_for(MIGRATIONS)).get_heads() == [schema.HEAD]
    assert schema.current(created) == schema.current(migrated) == schema.HEAD


def test_every_migration_has_one_parent_and_numbers_rise() -> None:
    scripts = list(ScriptDirectory.from_config(config_for(MIGRATIONS)).walk_revisions())[::-1]
    assert [one.revision for one in scripts] == [f"{n:04}" for n in range(1, len(scripts) + 1)]
    assert [one.down_revision for one in scripts] == [None, *(one.revision for one in scripts[:-1])]


def test_preparing_again_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    schema.prepare(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    database = tmp_path / "relevo.db"
    database.touch()
    schema.prepare(database)
    connection = open_writer(database)
    assert schema.current(connection) == schema.HEAD
    connection.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"schema 9999, which this version does not know.*newer Relevo"):
        schema.prepare(path)
    connection = open_writer(path)
    assert schema.current(connection) == "9999"
    connection.close()


@pytest.mark.parametrize("content", [b"no database at all" * 1000, b"SQLite format 3\0" + b"\xff" * 8176])
def test_a_file_that_is_no_database_is_told_with_its_name(tmp_path: Path, content: bytes) -> None:
    database = tmp_path / "relevo.db"
    database.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"relevo\.db cannot be opened: .*relevo doctor"):
        schema.prepare(database)
    assert database.read_bytes() == content


def test_a_directory_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unable to open database file"):
        schema.prepare(tmp_path / "no" / "relevo.db")


class Later:
    """The migrations of a version to come: today's and one more."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgrade: str) -> None:
        place = tmp_path / "later"
        shutil.copytree(MIGRATIONS, place / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
        text = f'''
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{schema.HEAD}"


def upgrade() -> None:
{upgrade}
'''
        (place / "migrations" / "versions" / "later.py").write_text(text)
        monkeypatch.setattr(schema, "__file__", str(place / "schema.py"))
        monkeypatch.setattr(schema, "HEAD", "later")


ADD_COLUMN = '    op.add_column("devices", sa.Column("colour", sa.Text(), nullable=False, server_default="grey"))\n'


def test_an_older_database_is_brought_up_to_date_and_keeps_what_it_holds(
    path: Path, writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(writer, registered("d1"), reading("d1"))
    writer.close()
    Later(tmp_path, monkeypatch, ADD_COLUMN)
    schema.prepare(path)
    connection = open_writer(path)
    assert schema.current(connection) == "later"
    assert connection.execute("SELECT id, colour FROM devices").fetchall() == [("d1", "grey")]
    assert connection.execute("SELECT count(*) FROM journal").fetchone() == (1,)
    connection.close()
    schema.prepare(path)


def test_a_migration_that_fails_half_way_is_told_and_leaves_the_database_as_it_was(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = likeness_of(path)
    Later(tmp_path, monkeypatch, ADD_COLUMN + '    op.execute("INSERT INTO nowhere VALUES (1)")\n')
    raised = ""
    try:
        schema.prepare(path)
    except (ConfigurationError, SQLAlchemyError) as error:
        raised = type(error).__name__
    # What was left open is complained about here and not in the middle of another test.
    gc.collect()
    assert likeness_of(path) == before
    assert raised == "ConfigurationError"


def likeness_of(path: Path) -> tuple[Any, Any]:
    connection = open_writer(path)
    try:
        return likeness(connection), schema.current(connection)
    finally:
        connection.close()


def test_a_file_that_never_shrank_can_after_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "relevo.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA auto_vacuum=NONE")
    connection.execute("CREATE TABLE filler(data BLOB)")
    connection.commit()
    core = core_on(connection)
    config = config_for(MIGRATIONS)
    config.attributes["connection"] = core
    command.upgrade(config, "0017")
    core.commit()
    connection.execute("INSERT INTO filler VALUES (zeroblob(1000000))")
    connection.commit()
    core.close()
    core.engine.dispose()
    schema.prepare(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert connection.execute("SELECT length(data) FROM filler").fetchone() == (1_000_000,)
    assert schema.current(connection) == schema.HEAD
    connection.close()
    assert not [one for one in tmp_path.iterdir() if one.suffix not in (".db", ".db-wal", ".db-shm")]
