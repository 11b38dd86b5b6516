"""Damage is found wherever it is, named, and everything outside of it is saved."""

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relevo.domain.accounts import Account
from relevo.domain.records import Kept
from relevo.domain.sites import Site
from relevo.store import journal
from relevo.store.checking import Report, check
from relevo.store.db import FILE_NAME, open_reader, open_writer
from relevo.store.history import chunks, compaction, trimming
from relevo.store.pages import TABLE_LEAF, Pages, varint
from relevo.store.salvage import LIST, salvage
from relevo.store.schema import prepare
from relevo.store.tables import SqlRows
from relevo.store.writer import Batch, Writer
from tests.store.samples import NOW, commit, reading, refused, registered

DEVICES = ("north", "south", "west")
Rows = dict[str, dict[Any, dict[str, Any]]]


def fill(data: Path) -> Path:
    """A data directory with a bit of everything that is kept in bulk: of a journal of many pages most is in chunks."""
    data.mkdir()
    path = data / FILE_NAME
    prepare(path)
    (data / "secret.key").write_bytes(bytes(32))
    writer = Writer(path, 50, 50)
    writer.open()
    commit(writer, *(registered(device) for device in DEVICES))
    people = [Account(f"person-{n:02}", "viewer", "x" * 90, NOW, password_changed_at=NOW) for n in range(60)]
    sites = [Site(f"site-{n:02}", "UTC", 1.5, None) for n in range(20)]
    writer.write(Batch([Kept(one) for one in (*people, *sites)]), NOW)
    for n in range(240):
        values = {"t": n % 7 / 10, "on": n % 5 == 0, "text": f"word {n % 3} {n * 7919 % 65536:04x}"}
        commit(writer, *(reading(device, values, ts=NOW + n * 1_000) for device in DEVICES))
        if n % 20 == 0:
            commit(writer, refused(DEVICES[n % 3], at=NOW + n))
    with closing(open_reader(path)) as reader:
        for step in compaction.steps(reader, compaction.read_range(reader), lambda: 100, full=50):
            writer.maintain(lambda connection, step=step: chunks.commit(connection, step))  # type: ignore[misc]
    for n in range(40):
        commit(writer, *(reading(device, {"t": n}, ts=NOW + 1_000_000 + n) for device in DEVICES))
    writer.checkpoint()
    writer.close()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("whole") / "data").parent


def content(path: Path) -> Rows:
    """Every row by its number."""
    with closing(sqlite3.connect(path)) as connection:
        source = SqlRows(connection)
        names = [name for name in source.tables if not name.startswith("sqlite_")]
        found: Rows = {}
        for name in names:
            numbers = [row[0] for row in connection.execute(f'SELECT rowid FROM "{name}" ORDER BY rowid')]
            rows = source.rows(name, lambda where, what: None)
            found[name] = dict(zip(numbers, rows, strict=True))
        return found


def pages_of(path: Path) -> dict[str, dict[int, set[int]]]:
    """For every row of every table, the pages that it needs."""
    found: dict[str, dict[int, set[int]]] = {}
    with path.open("rb") as file, closing(sqlite3.connect(path)) as connection:
        pages = Pages(file)

        def wrong(number: int, what: str) -> None:
            raise AssertionError(f"page {number} {what}")

        # A table of which nobody knows any more where it begins is lost with the page that says so.
        names = dict(connection.execute("SELECT rowid, name FROM sqlite_schema WHERE type = 'table'").fetchall())
        listed: dict[str, int] = {}
        for leaf in pages.leaves(1, wrong):
            data = pages.page(leaf)
            for place in pages._places(data, 100 if leaf == 1 else 0, 8):
                rowid, _ = varint(data, varint(data, place)[1])
                if rowid in names:
                    listed[names[rowid]] = leaf
        for name, table in SqlRows(connection).tables.items():
            of = found[name] = {}
            for leaf in pages.leaves(table.root, wrong):
                data = pages.page(leaf)
                assert data[0] == TABLE_LEAF
                for place in pages._places(data, 0, 8):
                    _, at = varint(data, place)
                    rowid, _ = varint(data, at)
                    of[rowid] = {leaf, *pages.chain(leaf, place), *({listed[name]} if listed.get(name, 1) > 1 else ())}
    return found


def expected(rows: Rows, pages: dict[str, dict[int, set[int]]], damaged: set[int]) -> Rows:
    """The rows that need no damaged page, neither themselves nor what they speak of."""
    left = {
        name: {number: row for number, row in of.items() if not pages[name][number] & damaged}
        for name, of in rows.items()
    }
    left["chunks"] = {
        number: row
        for number, row in left["chunks"].items()
        if row["times"] in left["times"] and row["series"] in left["series"]
    }
    left["latest"] = {number: row for number, row in left["latest"].items() if row["device"] in left["devices"]}
    used = {row["times"] for row in left["chunks"].values()}
    left["times"] = {number: row for number, row in left["times"].items() if number in used}
    return left


def compare(saved: Path, wanted: Rows) -> None:
    """All that was wanted is there as it was."""
    found = content(saved)
    for name, of in wanted.items():
        for number, row in of.items():
            there = found[name].get(number)
            if name == "times":
                assert there is not None and there["data"] == row["data"], (name, number)
            elif there != row:
                # Rows without a number of their own may get another.
                assert row in found[name].values(), (name, number, row, there)


@pytest.fixture(scope="module")
def needs(whole: Path) -> tuple[Rows, dict[str, dict[int, set[int]]]]:
    """Every row, and the pages that each needs."""
    return content(whole / FILE_NAME), pages_of(whole / FILE_NAME)


def test_nothing_is_found_where_nothing_is_wrong(whole: Path, tmp_path: Path) -> None:
    report = check(whole / FILE_NAME, tmp_path)
    assert report.findings == []
    assert report.rows["journal"] == len(content(whole / FILE_NAME)["journal"])
    assert report.rows["chunks"] > 20
    assert list(tmp_path.iterdir()) == []


def test_a_salvage_of_a_whole_one_is_the_same_and_one_event_more(whole: Path, tmp_path: Path) -> None:
    report = salvage(whole, tmp_path / "saved", NOW)
    assert report.findings == []
    found, was = content(tmp_path / "saved" / FILE_NAME), content(whole / FILE_NAME)
    last = max(found["journal"])
    assert found["journal"].pop(last)["n"] == 1
    assert found == was
    assert sorted(one.name for one in (tmp_path / "saved").iterdir()) == [LIST, FILE_NAME, "secret.key"]
    assert check(tmp_path / "saved" / FILE_NAME, tmp_path).findings == []


def test_every_page_can_be_lost_and_all_that_is_not_on_it_is_saved(
    whole: Path, tmp_path: Path, needs: tuple[Rows, dict[str, dict[int, set[int]]]]
) -> None:
    was, pages = needs
    original = (whole / FILE_NAME).read_bytes()
    count = len(original) // 4096
    holding = {number for of in pages.values() for taken in of.values() for number in taken}
    for number in range(1, count + 1):
        data, saved = tmp_path / f"data-{number}", tmp_path / f"saved-{number}"
        shutil.copytree(whole, data)
        damaged = bytearray(original)
        damaged[(number - 1) * 4096 : number * 4096] = bytes(4096)
        (data / FILE_NAME).write_bytes(damaged)
        report = salvage(data, saved, NOW)
        if number in holding or number == 1:
            assert report.findings, number
        compare(saved / FILE_NAME, expected(was, pages, {number}))
        assert check(saved / FILE_NAME, tmp_path).rows.total() > 0
        shutil.rmtree(data)
        shutil.rmtree(saved)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_and_cut_files_are_found_and_the_rest_is_saved(
    whole: Path, tmp_path: Path, needs: tuple[Rows, dict[str, dict[int, set[int]]]], data: Any
) -> None:
    original = (whole / FILE_NAME).read_bytes()
    damaged = bytearray(original)
    places = data.draw(st.lists(st.integers(0, len(original) - 1), max_size=4))
    for place in places:
        damaged[place] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.none() | st.integers(0, len(original)))
    if end is not None:
        del damaged[end:]
    target = tmp_path / os.urandom(4).hex()
    shutil.copytree(whole, target)
    (target / FILE_NAME).write_bytes(damaged)
    hit = {place // 4096 + 1 for place in places if damaged[: place + 1] != original[: place + 1]}
    if end is not None:
        hit |= set(range(end // 4096 + 1, len(original) // 4096 + 2))
    was, pages = needs
    report = check(target / FILE_NAME, tmp_path)
    if report.whole:
        # Then every row can be read, and none has gone.
        found = content(target / FILE_NAME)
        assert {name: len(of) for name, of in found.items()} == {name: len(of) for name, of in was.items()}
    saved = tmp_path / f"{target.name}-saved"
    salvage(target, saved, NOW)
    compare(saved / FILE_NAME, expected(was, pages, hit))
    shutil.rmtree(target)
    shutil.rmtree(saved)


def damaged(whole: Path, tmp_path: Path, *statements: str) -> Report:
    """What is found after ``statements``."""
    target = tmp_path / "data"
    shutil.copytree(whole, target)
    with closing(sqlite3.connect(target / FILE_NAME)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    report = check(target / FILE_NAME, tmp_path)
    saved = tmp_path / "saved"
    salvage(target, saved, NOW)
    # What is lost is not there any more, and what is there agrees; only numbers of lost events stay free.
    assert {one.where for one in check(saved / FILE_NAME, tmp_path).findings} <= {"journal"}
    return report


@pytest.mark.parametrize(
    ("statement", "where", "what"),
    [
        (
            "DELETE FROM journal WHERE seq = 100 OR seq BETWEEN 200 AND 205",
            "journal",
            r"events 20\d to 2\d\d are",
        ),
        ("UPDATE journal SET data = x'93' WHERE seq = (SELECT max(seq) FROM journal)", "journal", "events .* are lost"),
        ("UPDATE journal SET n = n + 1 WHERE seq = (SELECT max(seq) FROM journal)", "journal", "it holds 3 events"),
        ("UPDATE compaction SET low = 1000000, high = 1000000", "compaction", "the journal ends with"),
        ("UPDATE devices SET registered_seq = 1000000 WHERE id = 'west'", "journal", "others speak of event 1000000"),
        ("DELETE FROM times WHERE id = 3", "chunks", "device north, key .* from 2026-01-01 .* its times are lost"),
        ("UPDATE chunks SET data = x'01ff00' WHERE id = 5", "chunks", "device .*, key .* values from .* are lost"),
        ("UPDATE chunks SET n = n + 1 WHERE id = 5", "chunks", "it holds other points than it says"),
        ("DELETE FROM series WHERE id = 1", "chunks", "lost with its series"),
        ("UPDATE times SET used = 7 WHERE id = 2", "times", "says that 7 use it"),
        ("UPDATE latest SET data = 'nonsense' WHERE device = 1", "latest", "latest values of device north are lost"),
        ("DELETE FROM devices WHERE id = 'south'", "latest", "its device is not there"),
        ("UPDATE devices SET tags = 'no json' WHERE id = 'south'", "devices", "device south is lost"),
        (
            "UPDATE journal SET t0 = NULL, t1 = NULL WHERE seq = 2 OR seq % 3 = 0",
            "journal",
            "it says that it has no readings",
        ),
        ("INSERT INTO trims VALUES (1, 1000000)", "journal", "others speak of event 1000000"),
        ("DELETE FROM compaction", "compaction", "how far the journal is in chunks is lost"),
        ("DROP TABLE accounts", "accounts", "the table is missing"),
        ("DELETE FROM alembic_version", "alembic_version", "the version of the schema is lost"),
    ],
)
def test_what_rows_say_of_each_other_is_compared(
    whole: Path, tmp_path: Path, statement: str, where: str, what: str
) -> None:
    report = damaged(whole, tmp_path, statement)
    assert [one for one in report.findings if one.where == where and re.search(what, one.what)], report.findings


def test_what_has_left_the_journal_is_not_missing(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    shutil.copytree(whole, target)
    with closing(open_writer(target / FILE_NAME)) as connection:
        while (trim := trimming.next_trim(connection, chunks.progress(connection).low, 50)) is not None:
            trimming.commit(connection, trim)
        connection.execute("BEGIN")
        trimming.give_back(connection, 1_000)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert check(target / FILE_NAME, tmp_path).findings == []
    assert salvage(target, tmp_path / "saved", NOW).findings == []
    with closing(sqlite3.connect(tmp_path / "saved" / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_numbers_of_events_never_go_back(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    shutil.copytree(whole, target)
    with closing(sqlite3.connect(target / FILE_NAME)) as connection:
        last = journal.next_seq(connection) - 1
        connection.execute("UPDATE compaction SET low = ?, high = ?", (last, last))
        connection.execute("DELETE FROM journal WHERE seq > 300")
        connection.commit()
    salvage(target, tmp_path / "saved", NOW)
    with closing(sqlite3.connect(tmp_path / "saved" / FILE_NAME)) as connection:
        assert journal.next_seq(connection) == last + 2
        (event,) = journal.events_from(connection, last + 1, 10)
        assert event[1].action == "database.salvage"  # type: ignore[union-attr]
