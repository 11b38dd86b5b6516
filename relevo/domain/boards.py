"""Boards: the dashboards of this server's own interface, each one document, and what hangs on walls.

Theory. A board says where widgets are and what of which device they show; it holds no value, so sharing one shares no
device. A *wall* is a link that shows one board, with its owner's rights of the moment, to whoever has it. Beside these
stand the dashboards of the thingsnxt app (:mod:`relevo.domain.dashboards`), which that contract's clients change.
"""

from enum import IntEnum
from typing import Any, Final

import msgspec

COLUMNS: Final = 12
BOARDS_MOST: Final = 100
"""Of one person."""
WIDGETS_MOST: Final = 100
"""On one board."""
DOCUMENT_BYTES_MOST: Final = 131_072
"""Of a board's widgets, as JSON."""
SHARED_MOST: Final = 50
WALLS_MOST: Final = 20
"""Of one board."""
WALL_DAYS_MOST: Final = 3_650
WALL_STREAMS_MOST: Final = 32
"""Open at one moment, of one wall."""
TEMPLATES_MOST: Final = 500
PICTURES_MOST: Final = 50
"""Of one person."""
NAME_LIMIT: Final = 128


class BoardRight(IntEnum):
    """What somebody may do with a board; a higher right includes the lower ones."""

    NONE = 0
    VIEW = 1
    EDIT = 2
    OWN = 3


class Board(msgspec.Struct, frozen=True):
    """``shared`` says by account whether it may ``view`` or ``edit``; times in milliseconds UTC.

    ``version`` grows with every change. ``widgets`` are those of :mod:`relevo.domain.board_widgets`.
    """

    id: str
    owner: str
    name: str
    version: int
    widgets: list[dict[str, Any]]
    shared: dict[str, str]
    created_at: int
    changed_at: int

    def right_of(self, account: str) -> BoardRight:
        if account == self.owner:
            return BoardRight.OWN
        return BoardRight[self.shared[account].upper()] if account in self.shared else BoardRight.NONE


class Wall(msgspec.Struct, frozen=True):
    """A link to ``board`` of ``account``; of its token only ``secret_hash`` is kept. ``expires_at`` 0 is never
    (milliseconds UTC)."""

    id: str
    board: str
    account: str
    name: str
    secret_hash: str
    created_at: int
    expires_at: int


class Picture(msgspec.Struct, frozen=True):
    """What is known of a picture of ``account``; its bytes are a file of the data directory."""

    id: str
    account: str
    type: str
    size: int
    width: int
    height: int
    created_at: int


class BoardTemplate(msgspec.Struct, frozen=True):
    """A board for devices of type ``id``, with :data:`relevo.domain.board_widgets.PLACEHOLDER` for the device."""

    id: str
    name: str
    widgets: list[dict[str, Any]]
    by: str
    changed_at: int
