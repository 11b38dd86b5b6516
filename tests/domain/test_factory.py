"""A factory's list: which rows can be made, and why the others cannot."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.factory import COLUMNS, ROWS_MOST, Row, read
from relevo.errors import FieldError, Invalid

HEADER = ",".join(COLUMNS) + "\n"
KEY = "k" * 16


def normalise(contract: str, serial: str) -> str:
    if contract != "native":
        message = "contract must be native"
        raise Invalid("contract_unknown", message, [FieldError("contract", message)])
    return serial.upper()


def rows(*lines: str) -> list[Row]:
    return read(HEADER + "\n".join(lines), normalise)


def problems(*lines: str) -> list[list[str]]:
    return [[one.field for one in row.problems] for row in rows(*lines)]


def test_a_row_becomes_a_device_with_all_its_columns() -> None:
    (row,) = rows(f'native,p1,{KEY},"Pump, left",pump,cellar,wet; loud')
    assert (row.contract, row.serial, row.key, row.name) == ("native", "P1", KEY, "Pump, left")
    assert (row.type, row.site, row.tags, row.problems) == ("pump", "cellar", ["wet", "loud"], [])


def test_short_rows_and_empty_lines_are_welcome() -> None:
    assert [row.number for row in rows("native,p1", "", ",,", "native,p2,,")] == [2, 5]


def test_one_bad_row_loses_nothing_else() -> None:
    found = problems(
        "native,p1", "nothing,p2", "native,", f"native,p4,{KEY[1:]}", "native,p5,with some spaces",
        f"native,p6,,{'n' * 129}", f"native,p7,,,,,{';'.join('t' * 33)}",
        "native,P1", "native,p8,,,,,,more", "native,p9",
    )  # fmt: skip
    assert found == [[], ["contract"], ["serial"], ["key"], ["key"], ["name"], ["tags"], ["serial"], ["row"], []]


def test_a_key_stands_for_one_device() -> None:
    assert problems(f"native,p1,{KEY}", f"native,p2,{KEY}") == [[], ["key"]]


def test_problems_name_the_limit() -> None:
    (row,) = rows("native,p1,short")
    assert "16 to 128" in row.problems[0].message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "csv_header"),
        ("serial,contract\n", "csv_header"),
        (HEADER + 'native,"p1\n', "csv_malformed"),
        (HEADER + "native,p\n" * (ROWS_MOST + 1), "batch_too_long"),
    ],
)
def test_a_list_that_is_none_is_refused_whole(text: str, reason: str) -> None:
    with pytest.raises(Invalid) as told:
        read(text, normalise)
    assert told.value.reason == reason


def test_a_spreadsheets_mark_and_line_ends_do_not_matter() -> None:
    assert read("\ufeff" + HEADER.replace("\n", "\r\n") + "native,p1\r\n", normalise)[0].serial == "P1"


@given(st.lists(st.lists(st.text(max_size=20), min_size=1, max_size=9), max_size=6))
def test_whatever_the_cells_hold_each_row_is_answered(cells: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows(cells)
    try:
        found = read(HEADER + out.getvalue(), normalise)
    except Invalid:
        return
    assert len(found) == sum(any(cell.strip() for cell in line) for line in cells)
    for row in found:
        assert row.problems or (row.contract == "native" and row.serial)
