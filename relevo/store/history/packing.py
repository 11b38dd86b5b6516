"""Arrays of numbers as bytes: the lowest part of layout 1 (docs/series.md).

Pure, and the one place that knows pcodec. Every block says with which codec it was written, so that a server which
cannot have pcodec (no wheels for musl) writes with zlib and still reads what it wrote before it moved.
"""

import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from relevo.errors import Damaged

try:
    from pcodec import ChunkConfig, standalone  # type: ignore[import-untyped]

    _config: Any = ChunkConfig()
    _compress: Callable[..., bytes] | None = standalone.simple_compress
    _decompress: Callable[[bytes], NDArray[Any]] | None = standalone.simple_decompress
except ImportError:  # pragma: no cover - what is done then is tested by taking it away
    _config = _compress = _decompress = None

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EMPTY: Final = 0
CONSTANT: Final = 1
PCODEC: Final = 2
ZLIB: Final = 3
DISTINCT: Final = 4
# Fewer different floats than one in so many are worth a list of their own.
_FEW: Final = 3
_TYPES: Final = (np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float64))
# A block names at most this many numbers; what says more is damaged and may not take all memory.
MOST: Final = 1 << 24


def put_number(value: int) -> bytes:
    """An integer of 64 bits with its sign as one to ten bytes (zigzag, seven bits a byte, the lowest first)."""
    rest = (value << 1) ^ (value >> 63) if value < 0 else value << 1
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


class Source:
    """Bytes that are read from their beginning. Raises :class:`Damaged` where they end too early."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self) -> int:
        # Without calls: there are a few in every column of every block.
        data, at = self.data, self.at
        value = shift = 0
        while True:
            if at >= len(data):
                raise Damaged("it ends too early")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.at = at
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > 63:
                raise Damaged("a number of more than 64 bits")

    def count(self) -> int:
        """A number of things. Raises :class:`Damaged` when there cannot be so many."""
        value = self.number()
        if not 0 <= value <= MOST:
            raise Damaged(f"{value} values in one block")
        return value

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise Damaged("it ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, length: int) -> bytes:
        end = self.at + length
        if length < 0 or end > len(self.data):
            raise Damaged("it ends too early")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def put_ints(values: Ints) -> bytes:
    """A block of integers: which codec, how many, and the numbers."""
    if not len(values):
        return bytes([EMPTY])
    low, high = int(values.min()), int(values.max())
    if low == high:
        return bytes([CONSTANT]) + put_number(len(values)) + put_number(low)
    kind = 0 if low >= -(2**15) and high < 2**15 else 1 if low >= -(2**31) and high < 2**31 else 2
    return _put(values.astype(_TYPES[kind]), kind)


def put_floats(values: Floats) -> bytes:
    """A block of floats, to the bit."""
    if not len(values):
        return bytes([EMPTY])
    whole = _put(values, 3)
    # A sensor of few steps that is averaged says the same few long decimals again and again.
    different, places = np.unique(values.view(np.int64), return_inverse=True)
    if len(different) * _FEW > len(values):
        return whole
    few = bytes([DISTINCT]) + _put(different.view(np.float64), 3) + put_ints(places.astype(np.int64))
    return min(whole, few, key=len)


def _put(values: NDArray[Any], kind: int) -> bytes:
    if _compress is not None:
        body, codec = _compress(values, _config), PCODEC
    else:
        body, codec = zlib.compress(_shuffled(values), 6), ZLIB
    return bytes([codec, kind]) + put_number(len(values)) + put_number(len(body)) + body


def _shuffled(values: NDArray[Any]) -> bytes:
    """Differences (integers) or the bits themselves (floats), all lowest bytes first, then all second ones …"""
    if values.dtype.kind == "i":
        # Unsigned, because there it is defined what happens beyond the end.
        bits = values.view(f"u{values.itemsize}")
        differences = np.concatenate((bits[:1], np.diff(bits)))
    else:
        differences = values.view(np.uint64)
    return bytes(differences.astype(differences.dtype.newbyteorder("<")).view(np.uint8).reshape(len(values), -1).T)


def _unshuffled(data: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if len(data) != count * dtype.itemsize:
        raise Damaged(f"{len(data)} bytes where {count * dtype.itemsize} belong")
    table = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, count).T
    bits = np.ascontiguousarray(table).view(f"<u{dtype.itemsize}").reshape(count)
    if dtype.kind == "i":
        return np.cumsum(bits, dtype=f"u{dtype.itemsize}").view(dtype)
    return bits.astype(np.uint64).view(np.float64)


def get_array(source: Source) -> NDArray[Any]:
    """One block, as 64-bit integers or floats. Raises :class:`Damaged`."""
    codec = source.byte()
    if codec == EMPTY:
        return np.zeros(0, np.int64)
    if codec == CONSTANT:
        count, value = source.count(), source.number()
        return np.full(count, value, np.int64)
    if codec == DISTINCT:
        if source.data[source.at : source.at + 1] == bytes([DISTINCT]):
            raise Damaged("a list of different numbers inside of another")
        different, places = get_array(source), get_ints(source)
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(different):
            raise Damaged("a place behind the end of the different numbers")
        return different[places]
    if codec not in (PCODEC, ZLIB):
        raise Damaged(f"a codec {codec} that this version does not know")
    kind, count = source.byte(), source.count()
    body = source.take(source.number())
    if kind >= len(_TYPES):
        raise Damaged(f"numbers of a type {kind} that this version does not know")
    if codec == ZLIB:
        try:
            found = _unshuffled(zlib.decompress(body), _TYPES[kind], count)
        except zlib.error as error:
            raise Damaged(str(error)) from None
    else:
        if _decompress is None:
            raise Damaged("it was written with pcodec, which is not installed here")
        try:
            found = _decompress(body)
        except (RuntimeError, TypeError) as error:
            raise Damaged(str(error)) from None
        if found is None or found.dtype != _TYPES[kind] or len(found) != count:
            raise Damaged("other numbers than its head says")
    return found if kind == 3 else found.astype(np.int64, copy=False)


def get_ints(source: Source) -> Ints:
    """One block of integers. Raises :class:`Damaged`."""
    found = get_array(source)
    if found.dtype != np.int64:
        raise Damaged("floats where integers belong")
    return found
