"""A database of today's schema and the writer on it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.store.db import FILE_NAME, open_reader
from relevo.store.schema import prepare
from relevo.store.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    database = tmp_path / FILE_NAME
    prepare(database)
    return database


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    one = Writer(path, timeline_entries=10, unclaimed_entries=10)
    one.open()
    yield one
    one.close()


@pytest.fixture
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_reader(path)
    yield connection
    connection.close()
