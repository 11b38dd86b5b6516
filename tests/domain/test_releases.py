"""Versions in their order, and which board may get what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.releases import (
    Board,
    Release,
    board_of,
    check_board,
    check_release,
    is_newer,
    needless,
    order_of,
    unfit,
)
from relevo.errors import Invalid

# Semantic versioning 2.0.0, section 11, and the examples of its section 9.
RISING = (
    "0.0.1", "0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
    "1.0.0-rc.1", "1.0.0", "1.0.1-0", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
)  # fmt: skip


def release(version: str = "1.4.0", board: str = "relay", boot: int = 1, mpy: int = 6) -> Release:
    return Release(f"{board}-{version}", version, board, boot, mpy, "", 1_024, "0" * 64, [], "admin", 0)


def test_versions_come_in_the_order_of_the_standard() -> None:
    for n, left in enumerate(RISING):
        for m, right in enumerate(RISING):
            assert is_newer(left, right) is (n > m), (left, right)


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3-a..b", "v1.2.3", "1.2.3 ", "dev"]
)
def test_what_is_no_version_has_no_order(text: str) -> None:
    assert order_of(text) is None
    assert not is_newer(text, "1.0.0")
    assert not is_newer("1.0.0", text)


def test_build_metadata_orders_nothing() -> None:
    assert order_of("1.0.0+a") == order_of("1.0.0+b") == order_of("1.0.0")


@given(st.text(max_size=40))
def test_any_text_is_a_version_or_none(text: str) -> None:
    found = order_of(text)
    assert found is None or text[0].isdigit()


@pytest.mark.parametrize(
    ("board", "why"),
    [
        (Board("1.3.0", "relay", 1, 6), ""),
        (Board("1.3.0", "relay", 2, None), ""),
        (Board(), "unknown_board"),
        (Board("1.3.0", "meter", 1, 6), "other_board"),
        (Board("1.3.0", "relay", 1, 5), "mpy"),
    ],
)
def test_a_board_fits_or_it_is_said_why_not(board: Board, why: str) -> None:
    assert unfit(release(), board) == why
    assert unfit(release(mpy=0), board) == ("" if why == "mpy" else why)
    assert unfit(release(boot=3), board) == (why if why in ("unknown_board", "other_board") else "boot")


def test_what_runs_already_is_needless_and_what_is_newer_stays_unless_asked() -> None:
    assert needless(release(), Board("1.4.0", "relay"), older=True) == "current"
    assert needless(release(), Board("1.5.0", "relay"), older=False) == "newer"
    assert needless(release(), Board("1.5.0", "relay"), older=True) == ""
    assert needless(release(), Board("dev", "relay"), older=False) == ""


def test_a_board_is_known_by_its_attributes() -> None:
    board = Board("1.3.0", "relay", 2, 6)
    assert board_of(board.attributes()) == board
    assert board_of({}) == Board()
    assert (
        board_of({"firmware_version": 7, "firmware_board": None, "firmware_boot": "x", "firmware_mpy": True}) == Board()
    )


GOOD: dict[str, Any] = {"version": "1.4.0", "board": "relay", "boot": 1, "mpy": 6, "notes": "what changed"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "1.4"), ("version", 14), ("version", "1.4.0-" + "a" * 40), ("version", None), ("board", "Relay"),
        ("board", ""), ("board", "a" * 33), ("board", "a/b"), ("boot", 0), ("boot", True), ("boot", 1.0), ("boot", 256),
        ("mpy", -1), ("mpy", None), ("mpy", "6"), ("notes", "x" * 2_001), ("notes", None), ("more", 1),
    ],
)  # fmt: skip
def test_each_wrong_field_of_a_release_is_named(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        check_release(GOOD | {field: value})
    assert [one.field for one in caught.value.errors] == [f"release.json.{field}"]


def test_a_release_without_what_may_be_left_out() -> None:
    said = check_release({"version": "1.4.0", "board": "relay", "mpy": 0})
    assert (said.boot, said.notes, said.release) == (1, "", "relay-1.4.0")


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", ""), ("version", "a b"), ("version", 1), ("board", "X"), ("boot", 0), ("boot", "1"), ("mpy", 256)],
)
def test_each_wrong_field_of_a_board_is_named(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        check_board({"version": "dev", "board": "relay"} | {field: value})
    assert [one.field for one in caught.value.errors] == [field]
