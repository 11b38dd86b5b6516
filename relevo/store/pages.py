"""Rows of a damaged database, read from its pages without SQLite, which gives up at the first one that makes no sense.

"Database File Format" of SQLite, sections 1.6 (b-trees), 2.1 (records) and 4 (log). A page, a cell or a row that is
not what the format says is told and passed over; nothing that can be read depends on what cannot, except that a row
needs all of its overflow pages. Leaves of a table whose inner pages are damaged are found by looking at every page and
recognised by what their rows are made of (:class:`Likeness`).
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from relevo.errors import Damaged

PAGE_SIZE: Final = 4096
MAGIC: Final = b"SQLite format 3\0"
TABLE_LEAF: Final = 0x0D
TABLE_INNER: Final = 0x05
INDEX_LEAF: Final = 0x0A
INDEX_INNER: Final = 0x02
_HEADER: Final = 100
_DEEP: Final = 40
_INTS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_PAYLOAD_MOST: Final = 1_000_000_000

Value = int | float | str | bytes | None


class Row(NamedTuple):
    """``rowid`` is 0 for an entry of an index; ``page`` is where it begins."""

    rowid: int
    values: list[Value]
    page: int


class Pages:
    """A database file into which its log was moved (:func:`apply_log`)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = file.read(_HEADER)
        self.size = page_size(head) or PAGE_SIZE
        reserved = head[20] if len(head) > 20 and head[:16] == MAGIC else 0
        self._usable = self.size - (reserved if reserved <= 64 else 0)
        # What is left of a page that is cut holds no row for certain.
        self.count = file.seek(0, 2) // self.size

    def page(self, number: int) -> bytes:
        """Raises :class:`Damaged` when there is none of this number."""
        if not 1 <= number <= self.count:
            raise Damaged(f"page {number} of {self.count}")
        self._file.seek((number - 1) * self.size)
        data = self._file.read(self.size)
        if len(data) < self.size:
            raise Damaged(f"page {number} is cut")
        return data

    def kind(self, number: int) -> int:
        """The first byte of a page of a b-tree, 0 for one that cannot be read."""
        try:
            return self.page(number)[_HEADER if number == 1 else 0]
        except Damaged:
            return 0

    # Trees

    def leaves(self, root: int, wrong: Callable[[int, str], None], *, index: bool = False) -> Iterator[int]:
        """The leaves below ``root`` in their order, and the root itself when it is one.

        The inner pages of an index hold entries, too, so they come as well. ``wrong`` hears of pages that are not what
        they should be.
        """
        inner, leaf = (INDEX_INNER, INDEX_LEAF) if index else (TABLE_INNER, TABLE_LEAF)
        seen: set[int] = set()
        waiting = [(root, 0)]
        while waiting:
            number, depth = waiting.pop()
            if number in seen or depth > _DEEP:
                wrong(number, "is pointed to twice")
                continue
            seen.add(number)
            kind = self.kind(number)
            if kind == leaf:
                yield number
            elif kind == inner:
                if index:
                    yield number
                waiting += [(one, depth + 1) for one in reversed(self._below(number, wrong))]
            else:
                wrong(number, "is no page of this tree")

    def _below(self, number: int, wrong: Callable[[int, str], None]) -> list[int]:
        data = self.page(number)
        at = _HEADER if number == 1 else 0
        found = []
        for place in self._places(data, at, 12):
            if place + 4 > len(data):
                wrong(number, "points outside of itself")
                continue
            found.append(int.from_bytes(data[place : place + 4]))
        return [*found, int.from_bytes(data[at + 8 : at + 12])]

    def _places(self, data: bytes, at: int, header: int) -> list[int]:
        count = int.from_bytes(data[at + 3 : at + 5])
        count = min(count, (len(data) - at - header) // 2)
        return list(struct.unpack_from(f">{count}H", data, at + header))

    def rows(self, number: int, wrong: Callable[[int, str], None]) -> Iterator[Row]:
        """The rows of a leaf of a table, or the entries of a page of an index."""
        try:
            data = self.page(number)
        except Damaged as error:
            wrong(number, str(error))
            return
        at = _HEADER if number == 1 else 0
        kind = data[at]
        if int.from_bytes(data[at + 3 : at + 5]) > (len(data) - at - 8) // 2:
            wrong(number, "says that it has more rows than fit")
        for place in self._places(data, at, 12 if kind == INDEX_INNER else 8):
            try:
                yield self._row(data, number, kind, place)
            except Damaged as error:
                wrong(number, str(error))

    def _row(self, data: bytes, number: int, kind: int, place: int) -> Row:
        at = place + (4 if kind == INDEX_INNER else 0)
        size, at = varint(data, at)
        rowid = 0
        if kind == TABLE_LEAF:
            rowid, at = varint(data, at)
            if rowid >= 1 << 63:
                rowid -= 1 << 64
        payload, _ = self._payload(data, at, size, kind == TABLE_LEAF)
        return Row(rowid, record(payload), number)

    def chain(self, number: int, place: int) -> list[int]:
        """The overflow pages of the row at ``place`` of a leaf of a table."""
        data = self.page(number)
        size, at = varint(data, place)
        _, at = varint(data, at)
        return self._payload(data, at, size, True)[1]

    def _payload(self, data: bytes, at: int, size: int, table: bool) -> tuple[bytes, list[int]]:
        usable = self._usable
        most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
        if size <= most:
            if at + size > usable:
                raise Damaged("a row reaches beyond its page")
            return data[at : at + size], []
        if size > min(_PAYLOAD_MOST, self.count * self.size):
            raise Damaged("a row is longer than the file")
        least = (usable - 12) * 32 // 255 - 23
        here = least + (size - least) % (usable - 4)
        if here > most:
            here = least
        if at + here + 4 > usable:
            raise Damaged("a row reaches beyond its page")
        parts, left = [data[at : at + here]], size - here
        following = int.from_bytes(data[at + here : at + here + 4])
        taken: list[int] = []
        seen: set[int] = set()
        while left:
            if following in seen:
                raise Damaged("a row goes round in circles")
            seen.add(following)
            taken.append(following)
            page = self.page(following)
            parts.append(page[4 : 4 + min(left, usable - 4)])
            left -= len(parts[-1])
            following = int.from_bytes(page[:4])
        return b"".join(parts), taken

    def free(self) -> set[int]:
        """Pages that are in use for nothing, as far as their list can be read; what was deleted may still be there."""
        found: set[int] = set()
        try:
            trunk = int.from_bytes(self.page(1)[32:36])
            while trunk and trunk not in found:
                data = self.page(trunk)
                found.add(trunk)
                count = min(int.from_bytes(data[4:8]), self._usable // 4 - 2)
                found.update(struct.unpack_from(f">{count}I", data, 8))
                trunk = int.from_bytes(data[:4])
        except Damaged:
            pass
        return found


def page_size(head: bytes) -> int:
    """What the file's header says, 0 when it makes no sense."""
    if head[:16] != MAGIC:
        return 0
    found = int.from_bytes(head[16:18])
    found = 65536 if found == 1 else found
    return found if 512 <= found <= 65536 and not found & (found - 1) else 0


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to nine bytes, the highest first, and where it ends. Raises :class:`Damaged`."""
    value = 0
    for place in range(at, at + 8):
        if place >= len(data):
            raise Damaged("a row reaches beyond its page")
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    if at + 8 >= len(data):
        raise Damaged("a row reaches beyond its page")
    return value << 8 | data[at + 8], at + 9


def record(payload: bytes) -> list[Value]:
    """The columns of a row. Raises :class:`Damaged`."""
    end, at = varint(payload, 0)
    if end > len(payload) or end < at:
        raise Damaged("a row has no columns that fit")
    types = []
    while at < end:
        kind, at = varint(payload, at)
        types.append(kind)
    if at != end:
        raise Damaged("a row has no columns that fit")
    found: list[Value] = []
    for kind in types:
        size = (kind - 12) // 2 if kind >= 12 else _INTS.get(kind, 8 if kind == 7 else 0)
        data = payload[at : at + size]
        at += size
        if len(data) < size or kind in (10, 11):
            raise Damaged("a row has a column that does not fit")
        if kind >= 12:
            found.append(_text(data) if kind & 1 else data)
        elif kind == 7:
            found.append(struct.unpack(">d", data)[0])
        elif kind in _INTS:
            found.append(int.from_bytes(data, signed=True))
        else:
            found.append({8: 0, 9: 1}.get(kind))
    if at != len(payload):
        raise Damaged("a row is longer than its columns")
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Damaged("a text is none") from None


class Likeness(NamedTuple):
    """What rows of a table are made of: for each column its declared type, whether it may be empty; ``alias`` is the
    place of the column that is the row's number, -1 for none."""

    types: Sequence[str]
    empty: Sequence[bool]
    alias: int

    def fits(self, values: Sequence[Value]) -> bool:
        """Whether a row may be of this table; one that was written before columns were added has fewer."""
        if not 0 < len(values) <= len(self.types):
            return False
        return all(self._fits(place, value) for place, value in enumerate(values))

    def _fits(self, place: int, value: Value) -> bool:
        if place == self.alias:
            return value is None
        if value is None:
            return self.empty[place]
        kind = self.types[place]
        if kind == "BLOB":
            return isinstance(value, bytes)
        if kind in ("INTEGER", "BIGINT", "BOOLEAN"):
            return isinstance(value, int)
        if kind in ("FLOAT", "REAL"):
            return isinstance(value, int | float)
        if kind == "JSON":
            return not isinstance(value, bytes)
        return not kind or isinstance(value, str)


# The log


def apply_log(database: Path, log: Path) -> int:
    """Write what is committed in ``log`` into the file ``database``; how many pages that were.

    Frames count up to the last commit before one that does not belong or whose sum is wrong, as SQLite takes them.
    """
    try:
        data = log.read_bytes()
    except FileNotFoundError:
        return 0
    if len(data) < 32 or int.from_bytes(data[:4]) not in (0x377F0682, 0x377F0683):
        return 0
    order = ">" if int.from_bytes(data[:4]) & 1 else "<"
    size = int.from_bytes(data[8:12])
    if size not in {1 << n for n in range(9, 17)}:
        return 0
    sums = _sum(data[:24], order, (0, 0))
    if sums != struct.unpack(">2I", data[24:32]):
        return 0
    frames: dict[int, int] = {}
    committed: dict[int, int] = {}
    pages = 0
    for at in range(32, len(data) - size - 23, 24 + size):
        head = data[at : at + 24]
        if head[8:16] != data[16:24]:
            break
        sums = _sum(data[at + 24 : at + 24 + size], order, _sum(head[:8], order, sums))
        if sums != struct.unpack(">2I", head[16:24]):
            break
        frames[int.from_bytes(head[:4])] = at + 24
        if int.from_bytes(head[4:8]):
            committed, pages = dict(frames), int.from_bytes(head[4:8])
    if committed:
        with database.open("r+b") as file:
            for number, at in committed.items():
                file.seek((number - 1) * size)
                file.write(data[at : at + size])
            file.truncate(pages * size)
    return len(committed)


def _sum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    numbers = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(numbers[::2], numbers[1::2], strict=True):
        one = one + first + two & 0xFFFFFFFF
        two = two + second + one & 0xFFFFFFFF
    return one, two
