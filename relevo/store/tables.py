"""The rows of a database that may be damaged: through SQLite while it finds nothing wrong, page by page otherwise."""

import contextlib
import functools
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from relevo.errors import Damaged
from relevo.store.db import core_on, metadata
from relevo.store.pages import MAGIC, TABLE_LEAF, Likeness, Pages, Row
from relevo.store.schema import HEAD

# The table of SQLite itself that remembers which numbers were given.
SEQUENCE: Final = "sqlite_sequence"
_FLOATS: Final = ("FLOAT", "REAL")
_CACHED: Final = 64

Note = Callable[[str, str], None]


class Table(NamedTuple):
    """``sql`` makes it; ``defaults`` are what a row has that was written before the column was there."""

    name: str
    columns: list[str]
    likeness: Likeness
    defaults: list[Any]
    sql: str
    root: int


class Source(Protocol):
    """Rows as dictionaries. ``note`` hears, with the table's name, what cannot be read."""

    tables: dict[str, Table]
    indexes: list[str]

    def rows(self, name: str, note: Note) -> Iterator[dict[str, Any]]: ...

    def fetch(self, name: str, number: int) -> dict[str, Any] | None:
        """A row by its number."""

    def entries(self, name: str) -> list[tuple[Any, ...]] | None:
        """What an index says, ``None`` when it says no more than the table itself."""


def described(statements: list[tuple[str, str, int]]) -> dict[str, Table]:
    """Tables as their ``CREATE TABLE`` says; given with their names and roots. One that makes no sense is left out."""
    found: dict[str, Table] = {}
    with sqlite3.connect(":memory:") as connection:
        for name, sql, root in statements:
            try:
                if name == SEQUENCE:
                    connection.execute("CREATE TABLE dummy(id INTEGER PRIMARY KEY AUTOINCREMENT)")
                else:
                    connection.execute(sql)
                info = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
                defaults = [
                    connection.execute(f"SELECT {row[4]}").fetchone()[0] if row[4] is not None else None for row in info
                ]
            except (sqlite3.Error, sqlite3.Warning, ValueError):
                continue
            if not info:
                continue
            keys = [row[1] for row in info if row[5]]
            alias = next(
                (place for place, row in enumerate(info) if row[5] and row[2] == "INTEGER" and len(keys) == 1), -1
            )
            types = ["TEXT", "INTEGER"] if name == SEQUENCE else [row[2] for row in info]
            likeness = Likeness(types, [not row[3] for row in info], alias)
            found[name] = Table(name, [row[1] for row in info], likeness, defaults, sql, root)
    connection.close()
    return found


@functools.cache
def of_today() -> tuple[dict[str, Table], list[str]]:
    """Tables and indexes of this version, without places; for a database that does not know its own."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    core = core_on(connection)
    metadata.create_all(core)
    core.commit()
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    core.close()
    core.engine.dispose()
    connection.close()
    tables = described([(name, sql, 0) for kind, name, sql in rows if kind == "table"])
    return tables, [sql for kind, _, sql in rows if kind == "index"]


class SqlRows:
    """A database that SQLite finds nothing wrong with. Every method raises ``sqlite3.DatabaseError``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises :class:`Damaged` when what it says of its tables cannot be true, which SQLite does not look at."""
        self._connection = connection
        try:
            self._read()
        except (UnicodeDecodeError, TypeError, ValueError) as error:
            raise Damaged(f"its list of tables makes no sense: {error}") from None

    def _read(self) -> None:
        connection = self._connection
        connection.text_factory = _text
        rows = connection.execute("SELECT type, name, sql, rootpage FROM sqlite_schema").fetchall()
        self.tables = described([(name, sql or "", root) for kind, name, sql, root in rows if kind == "table"])
        self.indexes = [sql for kind, _, sql, _ in rows if kind == "index" and sql]
        for kind, name, _, _ in rows:
            if kind == "table":
                said = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
                if name not in self.tables or self.tables[name].columns != said:
                    raise Damaged(f"what it says of its table {name} makes no sense")
        versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if "alembic_version" in self.tables and versions in ([], [(HEAD,)]):
            today, _ = of_today()
            for name, table in self.tables.items():
                if name.startswith("sqlite_"):
                    continue
                if name not in today or table.columns != today[name].columns:
                    raise Damaged(f"it has a table {name} that it should not have so")
                self.tables[name] = today[name]._replace(root=table.root)

    def rows(self, name: str, note: Note) -> Iterator[dict[str, Any]]:
        table = self.tables[name]
        for row in self._connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid'):  # noqa: S608
            yield dict(zip(table.columns, row, strict=True))

    def fetch(self, name: str, number: int) -> dict[str, Any] | None:
        row = self._connection.execute(
            f'SELECT * FROM "{name}" WHERE rowid = ?',  # noqa: S608
            (number,),
        ).fetchone()
        return dict(zip(self.tables[name].columns, row, strict=True)) if row else None

    def entries(self, name: str) -> list[tuple[Any, ...]] | None:
        return None


def _text(data: bytes) -> str | bytes:
    """What is no text stays bytes, by which it is known."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class PageRows:
    """A damaged database, its log moved into it. ``note`` hears at once of what belongs to no table any more."""

    def __init__(self, path: Path, note: Note) -> None:
        self._file = file = path.open("rb")
        with contextlib.ExitStack() as opened:
            opened.callback(file.close)
            self._read(note)
            opened.pop_all()

    def _read(self, note: Note) -> None:
        self._pages = Pages(self._file)
        self._cache: OrderedDict[int, dict[str, Any] | None] = OrderedDict()
        self._places: dict[str, dict[int, int]] = {}
        seen: set[int] = {1}
        schema = self._schema(note, seen)
        today, indexes = of_today()
        self.tables = described([(name, sql, root) for kind, name, sql, root in schema if kind == "table"])
        self._leaves: dict[str, list[tuple[int, str]]] = {}
        if self._version() in ("", HEAD):
            # Its tables are known; what it says of them may be damaged, but for their places.
            places = {name: table.root for name, table in self.tables.items()}
            self.tables = {name: one._replace(root=places.get(name, 0)) for name, one in today.items()}
            indexes_said = indexes
        else:
            indexes_said = [sql for kind, _, sql, _ in schema if kind == "index" and sql]
        lost = [name for name, table in self.tables.items() if not table.root]
        self.indexes = indexes_said
        self._index_roots = {name: root for kind, name, _, root in schema if kind == "index"}
        # Leaves in their order; with words instead of nothing, a page that cannot be read.
        for table in self.tables.values():
            self._leaves[table.name] = self._walk(table, seen) if table.root else []
        hurt = {name for name, leaves in self._leaves.items() if any(what for _, what in leaves)} | set(lost)
        self._adopt(hurt, seen, note)

    def close(self) -> None:
        self._file.close()

    def rows(self, name: str, note: Note) -> Iterator[dict[str, Any]]:
        table = self.tables[name]
        last: int | None = None
        waiting: list[str] = []

        def wrong(number: int, what: str) -> None:
            waiting.append(f"page {number}: {what}")

        for number, what in self._leaves[name]:
            if what:
                wrong(number, what)
                continue
            for row in self._pages.rows(number, wrong):
                if not table.likeness.fits(row.values):
                    wrong(number, "a row is none of this table")
                    continue
                for one in waiting:
                    note(name, f"{one}; rows behind {last} and before {row.rowid} may be lost")
                waiting.clear()
                last = row.rowid
                yield self._named(table, row)
        for one in waiting:
            note(name, f"{one}; rows behind {last} may be lost")

    def fetch(self, name: str, number: int) -> dict[str, Any] | None:
        places = self._places.get(name)
        if places is None:
            places = self._places[name] = {
                row.rowid: leaf
                for leaf, what in self._leaves.get(name, ())
                if not what
                for row in self._pages.rows(leaf, lambda page, words: None)
            }
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        leaf = places.get(number, 0)
        found = None
        if leaf:
            table = self.tables[name]
            for row in self._pages.rows(leaf, lambda page, words: None):
                if row.rowid == number and table.likeness.fits(row.values):
                    found = self._named(table, row)
        self._cache[number] = found
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return found

    def entries(self, name: str) -> list[tuple[Any, ...]] | None:
        root = self._index_roots.get(name, 0)
        if not root:
            return None
        return [
            tuple(row.values)
            for page in self._pages.leaves(root, lambda number, what: None, index=True)
            for row in self._pages.rows(page, lambda number, what: None)
        ]

    def _version(self) -> str:
        table = self.tables.get("alembic_version")
        if table is None or not table.root:
            return ""
        self._leaves["alembic_version"] = self._walk(table, set())
        found = [str(row["version_num"]) for row in self.rows("alembic_version", lambda where, what: None)]
        return found[0] if len(found) == 1 else ""

    def _schema(self, note: Note, seen: set[int]) -> list[tuple[str, str, str, int]]:
        """Type, name, statement and root of tables and indexes; where the way to them is damaged, by their looks."""
        found: list[tuple[str, str, str, int]] = []
        hurt = False

        def wrong(number: int, what: str) -> None:
            nonlocal hurt
            hurt = True
            note("file", f"page {number} of the list of tables: {what}")

        for leaf in self._pages.leaves(1, wrong):
            if self._take_schema(leaf, found, wrong):
                seen.add(leaf)
            else:
                wrong(leaf, "is of another table")
        if hurt:
            for leaf in range(2, self._pages.count + 1):
                if leaf in seen or self._pages.kind(leaf) != TABLE_LEAF:
                    continue
                if self._take_schema(leaf, found, lambda number, what: None):
                    seen.add(leaf)
        return found

    def _take_schema(
        self, leaf: int, found: list[tuple[str, str, str, int]], wrong: Callable[[int, str], None]
    ) -> bool:
        taken = []
        for row in self._pages.rows(leaf, wrong):
            values = row.values
            root = values[3] if len(values) == 5 and values[0] in ("table", "index") else None
            if not isinstance(root, int):
                return False
            taken.append((str(values[0]), str(values[1]), str(values[4] or ""), root))
        found += taken
        return bool(taken)

    def _walk(self, table: Table, seen: set[int]) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []

        def wrong(number: int, what: str) -> None:
            found.append((number, what))
            # A page that says what it is may still be a leaf of another table.
            if self._pages.kind(number) != TABLE_LEAF:
                seen.add(number)

        for number in self._pages.leaves(table.root, wrong):
            if number in seen:
                found.append((number, "belongs to two tables"))
                continue
            first = next(self._pages.rows(number, lambda page, what: None), None)
            if first is not None and not table.likeness.fits(first.values) and not self._any_fits(table, number):
                # Whoever it belongs to will find it, or it is adopted.
                found.append((number, "is of another table"))
                continue
            seen.add(number)
            found.append((number, ""))
        return found

    def _any_fits(self, table: Table, number: int) -> bool:
        return any(table.likeness.fits(row.values) for row in self._pages.rows(number, lambda page, what: None))

    def _adopt(self, hurt: set[str], seen: set[int], note: Note) -> None:
        """Leaves that nothing points to any more go to the table whose rows theirs look like."""
        head = self._pages.page(1) if self._pages.count else b""
        free = self._pages.free() if head[:16] == MAGIC else set()
        for number in range(2, self._pages.count + 1):
            if number in seen or number in free or self._pages.kind(number) != TABLE_LEAF:
                continue
            rows = list(self._pages.rows(number, lambda page, what: None))
            if not rows:
                continue
            likes = [
                name
                for name, table in self.tables.items()
                if 2 * sum(table.likeness.fits(row.values) for row in rows) > len(rows)
            ]
            # A table may miss pages without knowing it: its inner page says that there are fewer.
            fitting = [name for name in likes if name in hurt] or likes
            exact = [name for name in fitting if len(self.tables[name].columns) == len(rows[0].values)] or fitting
            if len(exact) == 1:
                self._leaves[exact[0]].append((number, ""))
            else:
                of = f"one of {', '.join(sorted(exact))}" if exact else "nothing that is known"
                note("file", f"page {number} with {len(rows)} rows belongs to {of}: they are lost")

    def _named(self, table: Table, row: Row) -> dict[str, Any]:
        values: list[Any] = [*row.values, *table.defaults[len(row.values) :]]
        kinds = table.likeness.types
        for place, value in enumerate(values):
            if kinds[place] in _FLOATS and isinstance(value, int):
                values[place] = float(value)
        if table.likeness.alias >= 0:
            values[table.likeness.alias] = row.rowid
        return dict(zip(table.columns, values, strict=True))
