"""Boards, their templates, walls and pictures in memory, kept equal to the store.

Theory. Whoever changes a board holds :attr:`Boards.turn` from looking to the commit, so that of two who change the same
version the second is told. A picture's bytes are a file, on the disk before the record that names it and gone after the
record; what a crash leaves in between goes with the next start. Views of walls that are open are woken by each change
of what they show, and end with their wall.
"""

import asyncio
import secrets
from pathlib import Path
from typing import Final

import msgspec

from relevo.domain.boards import Board, BoardTemplate, Picture, Wall
from relevo.domain.keyring import Keyring
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.files import Folder

FOLDER: Final = "pictures"
"""In the data directory."""
_FILE: Final = r"[0-9a-f]{32}"
_TOKEN_MARK: Final = "wall_"  # noqa: S105 - how every one begins


class View:
    """One open view of a wall; :attr:`woken` is set when what it shows changed, or the wall is gone."""

    def __init__(self, wall: str) -> None:
        self.wall = wall
        self.woken = asyncio.Event()


class Boards:
    """:meth:`apply` sees every commit."""

    def __init__(self, keyring: Keyring, data: Path) -> None:
        """Pictures are in a folder of ``data``, the data directory."""
        self._keyring = keyring
        self._folder = Folder(data / FOLDER, _FILE)
        self.turn = asyncio.Lock()
        self.all: dict[str, Board] = {}
        self.templates: dict[str, BoardTemplate] = {}
        self.walls: dict[str, Wall] = {}
        self.pictures: dict[str, Picture] = {}
        self._by_secret: dict[str, str] = {}
        self._views: dict[str, set[View]] = {}

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Board() as board):
                self.all[board.id] = board
                self._wake(board.id)
            case Kept(BoardTemplate() as template):
                self.templates[template.id] = template
            case Kept(Wall() as wall):
                self.walls[wall.id] = wall
                self._by_secret[wall.secret_hash] = wall.id
            case Kept(Picture() as picture):
                self.pictures[picture.id] = picture
            case Dropped(kind, key) if kind is Board:
                self.all.pop(key, None)
                self._wake(key)
            case Dropped(kind, key) if kind is BoardTemplate:
                self.templates.pop(key, None)
            case Dropped(kind, key) if kind is Wall:
                wall_gone = self.walls.pop(key, None)
                if wall_gone is not None:
                    self._by_secret.pop(wall_gone.secret_hash, None)
                    self._wake(wall_gone.board, key)
            case Dropped(kind, key) if kind is Picture:
                if self.pictures.pop(key, None) is not None:
                    self.forget(key)

    # Looking

    def of_account(self, account: str) -> list[Board]:
        """Their own and those shared with them, oldest first."""
        found = [one for one in self.all.values() if one.right_of(account)]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def walls_of(self, board: str) -> list[Wall]:
        """Oldest first."""
        found = [one for one in self.walls.values() if one.board == board]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def pictures_of(self, account: str) -> list[Picture]:
        """Oldest first."""
        found = [one for one in self.pictures.values() if one.account == account]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def removal(self, board: Board) -> list[RecordChange]:
        """What goes with a board."""
        return [Dropped(Board, board.id), *(Dropped(Wall, one.id) for one in self.walls_of(board.id))]

    def belongings(self, account: str) -> list[RecordChange]:
        """What goes with a person, and their place among those with whom boards are shared."""
        gone: list[RecordChange] = [Dropped(Picture, one.id) for one in self.pictures_of(account)]
        for board in self.all.values():
            if board.owner == account:
                gone += self.removal(board)
            elif account in board.shared:
                left = {name: right for name, right in board.shared.items() if name != account}
                gone.append(Kept(msgspec.structs.replace(board, shared=left, version=board.version + 1)))
        return gone

    # Walls

    def new_wall(self, board: Board, name: str, now_ms: int, expires_at: int) -> tuple[Wall, str]:
        """A wall that shows ``board``, and its token, which is kept nowhere."""
        token = _TOKEN_MARK + secrets.token_urlsafe(32)
        hashed = self._keyring.hash(token.encode())
        return Wall(secrets.token_hex(8), board.id, board.owner, name, hashed, now_ms, expires_at), token

    def wall(self, token: str, now_ms: int) -> Wall | None:
        """The wall of a token that is in force."""
        found = self.walls.get(self._by_secret.get(self._keyring.hash(token.encode(errors="replace")), ""))
        return found if found is not None and self.in_force(found, now_ms) else None

    def in_force(self, wall: Wall, now_ms: int) -> bool:
        return (
            self.walls.get(wall.id) is wall
            and wall.board in self.all
            and (not wall.expires_at or now_ms < wall.expires_at)
        )

    def views_of(self, board: str, wall: str) -> int:
        """How many look at a wall."""
        return sum(one.wall == wall for one in self._views.get(board, ()))

    def open_view(self, wall: Wall) -> View:
        view = View(wall.id)
        self._views.setdefault(wall.board, set()).add(view)
        return view

    def close_view(self, board: str, view: View) -> None:
        held = self._views.get(board, set())
        held.discard(view)
        if not held:
            self._views.pop(board, None)

    def _wake(self, board: str, wall: str = "") -> None:
        for view in self._views.get(board, ()):
            if not wall or view.wall == wall:
                view.woken.set()

    # Pictures

    def file(self, picture: str) -> Path:
        return self._folder.file(picture)

    @staticmethod
    def new_picture_id() -> str:
        return secrets.token_hex(16)

    def write(self, picture: str, data: bytes) -> None:
        """Bring the bytes of a picture onto the disk. Blocks; raises :class:`OSError`."""
        self._folder.write(picture, data)

    def forget(self, picture: str) -> None:
        """Remove the bytes of a picture that no record names, or none any more."""
        self._folder.forget(picture)

    def sweep(self) -> None:
        """Remove what a crash left."""
        self._folder.sweep(self.pictures)
