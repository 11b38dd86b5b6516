"""Cells of CSV: any value comes back as it was, and no spreadsheet runs one."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.cells import harmless, number_of, restored, text_cell, value_cell, value_of
from relevo.domain.csv_records import Cell, CsvReader, Record

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["=1+1", "'", "''x", "json:1", "'json:", "\r", "\n", '"', ",", "12", "true", "", "＝1", "+", "-5"]),
)
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), TEXTS
)
JSON = st.recursive(
    st.one_of(st.none(), SCALARS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
VALUES = st.one_of(SCALARS, st.lists(JSON, max_size=3), st.dictionaries(TEXTS, JSON, max_size=3))


def records(text: str, cut: int, delimiter: str = ",") -> list[Record]:
    reader = CsvReader(delimiter)
    found = [record for at in range(0, len(text), cut) for record in reader.feed(text[at : at + cut])]
    return [*found, *reader.end()]


@given(rows=st.lists(st.lists(VALUES, min_size=1, max_size=4), max_size=5), cut=st.integers(1, 20))
def test_any_value_comes_back_from_its_cell(rows: list[list[Any]], cut: int) -> None:
    text = "".join(",".join(map(value_cell, row)) + "\r\n" for row in rows)
    found = [[value_of(*cell) for cell in record.cells] for record in records(text, cut)]
    assert repr(found) == repr(rows)


@given(value=VALUES)
def test_others_read_the_same_cells_and_none_is_a_formula(value: Any) -> None:
    text = value_cell(value)
    ((cell,),) = csv.reader(io.StringIO(f"{text}\r\n", newline=""))
    if type(value) is str:
        assert restored(cell) == value
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
    elif type(value) in (list, dict):
        assert cell.startswith("json:")
    else:
        assert number_of(cell) == value or cell in ("true", "false")


@given(text=TEXTS)
def test_what_was_made_harmless_is_restored(text: str) -> None:
    assert restored(harmless(text)) == text
    assert value_of(text_cell(text)[1:-1].replace('""', '"'), True) == text


def test_nothing_is_not_an_empty_text() -> None:
    (record,) = records(',"",0\r\n', 100)
    assert [value_of(*cell) for cell in record.cells] == [None, "", 0]


def test_a_quote_that_is_never_closed_loses_its_own_line_alone() -> None:
    found = records('a,b\n"open,1\nc,d\n"e",f\n', 3)
    assert [(record.line, [cell.text for cell in record.cells]) for record in found if not record.problem] == [
        (1, ["a", "b"]),
        (3, ["c", "d"]),
        (4, ["e", "f"]),
    ]
    assert [(record.line, record.problem) for record in found if record.problem] == [(2, "a quote is not closed")]


@pytest.mark.parametrize("text", ['a"b,c\n"d",e"\nf,g\n', 'a"b"c\n'])
def test_a_quote_inside_a_cell_is_said(text: str) -> None:
    assert next(record.line for record in records(text, 4) if record.problem) == 1


def test_a_line_that_never_ends_is_skipped() -> None:
    found = records("a\n" + "x" * 3_000_000 + "\nb\n", 100_000)
    assert [(record.line, bool(record.problem)) for record in found] == [(1, False), (2, True), (3, False)]


def test_the_last_line_may_have_no_end() -> None:
    assert records('1;"2"', 2, ";") == [Record(1, [Cell("1", False), Cell("2", True)])]
