"""CSV read as it comes, a piece of a file at a time (RFC 4180), with what stood in quotes known as such.

A record that is broken is told with the number of its line and loses nothing else: a quote that is never closed would
take the rest of the file with it, so a record has a greatest length, and reading goes on with the line after its first.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

RECORD_CHARS: Final = 1_200_000
_LINES_MOST: Final = 10_000


class Cell(NamedTuple):
    text: str
    quoted: bool


class Record(NamedTuple):
    """Cells of a record that begins on a line; ``problem`` says why there are none."""

    line: int
    cells: list[Cell]
    problem: str = ""


class CsvReader:
    """Takes text, gives records. ``delimiter`` is one character, which does not occur in what is not quoted."""

    def __init__(self, delimiter: str = ",") -> None:
        mark = re.escape(delimiter)
        self._delimiter = delimiter
        self._cell = re.compile(rf'(?:"((?:[^"]|"")*)"|([^"{mark}]*))({mark}|$)', re.DOTALL)
        self._rest = ""
        # The rest of a line that is too long.
        self._skipping = False
        self._held: list[str] = []
        self._chars = 0
        self._line = 0

    def feed(self, text: str) -> Iterator[Record]:
        """The records that end in what has come so far."""
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            if self._skipping:
                self._skipping = False
                self._line += 1
            else:
                yield from self._take(line)
        if self._skipping:
            self._rest = ""
        elif len(self._rest) > RECORD_CHARS:
            yield Record(self._line + 1, [], f"the line has more than {RECORD_CHARS} characters")
            self._skipping, self._rest = True, ""

    def end(self) -> Iterator[Record]:
        """What the last line without an end is."""
        if self._rest:
            rest, self._rest = self._rest, ""
            yield from self._take(rest)
        while self._held:
            yield from self._give_up("a quote is not closed")

    def _take(self, line: str) -> Iterator[Record]:
        self._line += 1
        if not self._held and '"' not in line:
            line = line.removesuffix("\r")
            if line:
                yield Record(self._line, [Cell(text, False) for text in line.split(self._delimiter)])
            return
        self._held.append(line)
        self._chars += len(line) + 1
        if line.count('"') % 2 == (len(self._held) == 1):
            # The first line opens a quote, or a later one closes none: the record goes on.
            if self._chars > RECORD_CHARS or len(self._held) > _LINES_MOST:
                yield from self._give_up("a quote is not closed")
            return
        first = self._line - len(self._held) + 1
        record = "\n".join(self._held).removesuffix("\r")
        self._held, self._chars = [], 0
        cells = self._cells(record)
        yield Record(first, cells or [], "" if cells else "a quote stands inside a cell")

    def _give_up(self, problem: str) -> Iterator[Record]:
        """Only the first of the held lines is lost; the others are read again."""
        held, self._held, self._chars = self._held, [], 0
        self._line -= len(held)
        self._line += 1
        yield Record(self._line, [], problem)
        for line in held[1:]:
            yield from self._take(line)

    def _cells(self, record: str) -> list[Cell] | None:
        cells: list[Cell] = []
        at = 0
        while True:
            found = self._cell.match(record, at)
            if found is None:
                return None
            quoted = found[1]
            cells.append(Cell(quoted.replace('""', '"'), True) if quoted is not None else Cell(found[2], False))
            if not found[3]:
                return cells
            at = found.end()
