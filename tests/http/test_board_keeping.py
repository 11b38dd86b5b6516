"""Whoever is removed while a dashboard of theirs is on its way leaves nothing behind."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relevo.boards import Boards
from relevo.domain.boards import Board, Picture, Wall
from relevo.domain.devices import Registry
from relevo.domain.keyring import Keyring
from relevo.domain.records import Kept
from relevo.errors import NotFound
from relevo.http.boards.access import keep

BOARD = Board("b", "ana", "Well", 1, [], {"ben": "view", "cleo": "edit"}, 1, 1)


class Road:
    """Commits at once; with the first of them ``gone`` has lost the account."""

    def __init__(self, boards: Boards, gone: str) -> None:
        self._boards = boards
        self._gone = gone
        self.accounts = {"ana": None, "ben": None, "cleo": None}

    async def accept(self, entries: list[Any]) -> None:
        self.accounts.pop(self._gone, None)
        for one in entries:
            self._boards.apply(one)


def kept(tmp_path: Path, record: Board | Wall | Picture, gone: str) -> Boards:
    boards = Boards(Keyring(Registry(), b"p" * 32), tmp_path)
    if not isinstance(record, Board):
        boards.apply(Kept(BOARD))
    road = Road(boards, gone)
    wired: Any = SimpleNamespace(
        boards=boards, pipeline=road, auth=SimpleNamespace(people=SimpleNamespace(accounts=road.accounts))
    )
    try:
        asyncio.run(keep(wired, record))
    except NotFound:
        assert gone == "ana"
    else:
        assert gone != "ana"
    return boards


def test_who_stays_keeps_it(tmp_path: Path) -> None:
    assert kept(tmp_path, BOARD, "").all == {"b": BOARD}


def test_nobody_has_the_dashboard_of_somebody_who_is_gone(tmp_path: Path) -> None:
    assert kept(tmp_path, BOARD, "ana").all == {}


def test_who_is_gone_is_not_among_those_it_is_shared_with(tmp_path: Path) -> None:
    assert kept(tmp_path, BOARD, "ben").all["b"].shared == {"cleo": "edit"}


@pytest.mark.parametrize("gone", ["", "ana"])
def test_walls_and_pictures_go_with_them(tmp_path: Path, gone: str) -> None:
    wall = Wall("w", "b", "ana", "Kitchen", "hash", 1, 0)
    picture = Picture("p", "ana", "image/png", 1, 1, 1, 1)
    assert bool(kept(tmp_path, wall, gone).walls) is not bool(gone)
    assert bool(kept(tmp_path, picture, gone).pictures) is not bool(gone)


def test_a_token_opens_its_wall_for_its_time(tmp_path: Path) -> None:
    boards = Boards(Keyring(Registry(), b"p" * 32), tmp_path)
    boards.apply(Kept(BOARD))
    wall, token = boards.new_wall(BOARD, "Kitchen", 1_000, 2_000)
    assert boards.wall(token, 1_500) is None
    boards.apply(Kept(wall))
    assert token not in repr(wall)
    assert boards.wall(token, 1_999) is wall
    assert boards.wall(token, 2_000) is None
    assert boards.wall(token[:-1], 1_500) is None
    assert boards.wall("é\udc80", 1_500) is None
    other = Boards(Keyring(Registry(), b"q" * 32), tmp_path)
    other.apply(Kept(BOARD))
    other.apply(Kept(wall))
    # The hash alone opens nothing elsewhere.
    assert other.wall(token, 1_500) is None
