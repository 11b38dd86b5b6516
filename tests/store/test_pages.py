"""Pages read without SQLite hold what SQLite says that they do."""

import io
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.errors import Damaged
from relevo.store.pages import Pages, Row, apply_log, record, varint


def rows_of(pages: Pages, root: int, *, index: bool = False) -> list[Row]:
    wrong: list[tuple[int, str]] = []

    def note(number: int, what: str) -> None:
        wrong.append((number, what))

    found = [row for number in pages.leaves(root, note, index=index) for row in pages.rows(number, note)]
    assert wrong == []
    return found


def filled(path: Path, rows: int = 3_000) -> list[tuple[object, ...]]:
    chance = random.Random(rows)
    values: list[tuple[object, ...]] = [
        (
            n * 3 - 1_000,
            chance.choice((None, 0, 1, -1, 127, -129, 40_000, -9_000_000, 2**40, -(2**63), 2**63 - 1)),
            chance.choice((0.5, -1e300, float(2**60))),
            chance.choice(("", "é" * chance.randrange(3_000), "word")),
            chance.randbytes(chance.choice((0, 10, 500, 4_061, 4_062, 20_000))),
        )
        for n in range(rows)
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things(id INTEGER PRIMARY KEY, i BIGINT, f FLOAT, t TEXT, b BLOB)")
        connection.execute("CREATE INDEX by_text ON things(t, i)")
        connection.executemany("INSERT INTO things VALUES (?,?,?,?,?)", values)
        connection.commit()
    return values


def test_every_row_and_every_entry_of_an_index_is_read(tmp_path: Path) -> None:
    values = filled(tmp_path / "x.db")
    with (tmp_path / "x.db").open("rb") as file:
        pages = Pages(file)
        schema = {row.values[1]: int(str(row.values[3])) for row in rows_of(pages, 1)}
        found = rows_of(pages, schema["things"])
        assert [(row.rowid, *row.values[1:]) for row in found] == values
        entries = rows_of(pages, schema["by_text"], index=True)
        assert sorted(int(str(entry.values[-1])) for entry in entries) == [row[0] for row in values]
        assert pages.free() == set()


def test_what_was_deleted_is_known_to_be(tmp_path: Path) -> None:
    filled(tmp_path / "x.db")
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("DELETE FROM things WHERE id > 1000")
        connection.commit()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    with (tmp_path / "x.db").open("rb") as file:
        assert len(Pages(file).free()) == free > 100


def test_the_log_is_taken_as_sqlite_takes_it(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for n in range(50):
            connection.execute("INSERT INTO t VALUES (?, ?)", (n, bytes([n]) * 3_000))
        shutil.copy(path, copy)
        log = tmp_path / "x.db-wal"
        content = log.read_bytes()
        assert apply_log(copy, log) > 40
        with copy.open("rb") as file:
            root = int(str(rows_of(Pages(file), 1)[0].values[3]))
            assert [row.rowid for row in rows_of(Pages(file), root)] == list(range(50))
        # Behind a frame whose sum is wrong nothing counts; what was committed before it does.
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        (tmp_path / "bad").write_bytes(damaged)
        shutil.copy(path, copy)
        apply_log(copy, tmp_path / "bad")
        with copy.open("rb") as file:
            kept = [row.rowid for row in rows_of(Pages(file), root)]
        assert kept == list(range(len(kept)))
        assert 15 < len(kept) < 35


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_only_one_error_comes(data: bytes) -> None:
    for call in (record, lambda one: varint(one, 0)):
        try:
            call(data)
        except Damaged:
            continue


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=512, max_size=512), min_size=1, max_size=6), st.sampled_from((5, 13, 10, 2)))
def test_pages_of_anything_are_walked_to_an_end(content: list[bytes], kind: int) -> None:
    head = b"SQLite format 3\0" + (512).to_bytes(2) + bytes(82)
    pages = Pages(io.BytesIO(b"".join([head + bytes([kind]) + content[0][101:], *content[1:]])))
    wrong: list[str] = []
    for index in (False, True):
        for number in pages.leaves(1, lambda _, what: wrong.append(what), index=index):
            for row in pages.rows(number, lambda _, what: wrong.append(what)):
                assert row.page == number
    pages.free()
