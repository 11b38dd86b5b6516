"""Layout 1 of stored points: the times that several series share, and the values of one (docs/series.md).

Pure. What comes back is what was given, types included: ``1``, ``1.0`` and ``true`` are three values, ``-0.0`` is not
``0.0``, and integers have all 64 bits.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from relevo.errors import Damaged
from relevo.store.history.packing import Floats, Ints, Source, get_array, get_ints, put_floats, put_ints, put_number

LAYOUT: Final = 1

# Forms of times.
_DIRECT: Final = 0
_REGULAR: Final = 1
# Forms of values.
CONSTANT: Final = 0
INTEGERS: Final = 1
DECIMALS: Final = 2
FLOATS: Final = 3
BOOLEANS: Final = 4
TEXTS: Final = 5
MIXED: Final = 6
NUMBERS: Final = 7
_PICKED: Final = 0x80

_DECIMALS_MOST: Final = 6
_EXACT: Final = 2**53
_SMALL: Final = 24
_STEP_UNIT: Final = 65_536
_COMPRESSION: Final = 9

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode

# What libraries say of bytes that make no sense.
NONSENSE: Final = (
    ValueError, IndexError, OverflowError, TypeError, MemoryError, msgspec.DecodeError, zstandard.ZstdError
)  # fmt: skip
_UNPACKED_MOST: Final = 1 << 26

Values = NDArray[Any] | list[Any]


class Times(NamedTuple):
    """When the points of a chunk were: milliseconds UTC, arrival numbers, quality.

    An arrival number is 0 for a point that is alone at its millisecond; ``quality`` is see
    :mod:`relevo.domain.quality`.
    """

    ts: Ints
    seq: Ints
    quality: NDArray[np.uint8]


# Times


def encode_times(times: Times) -> bytes:
    """Bytes of at least one time, oldest first."""
    ts = times.ts
    direct = bytes([_DIRECT]) + put_ints(ts)
    regular = _regular(ts)
    body = regular if regular is not None and len(regular) < len(direct) else direct
    shared = np.flatnonzero(times.seq)
    numbers = put_ints(np.diff(shared, prepend=-1)) + put_ints(np.diff(times.seq[shared], prepend=0))
    starts = np.flatnonzero(np.diff(times.quality, prepend=~times.quality[:1]))
    runs = put_ints(np.diff(starts, append=len(ts))) + put_ints(times.quality[starts].astype(np.int64))
    return bytes([LAYOUT]) + body + runs + numbers


def _regular(ts: Ints) -> bytes | None:
    """Times as steps of a clock and what each is beside it; none where that is no help.

    The step is fitted in 1/65536 ms, because one that is a millisecond wrong is a second wrong after a thousand.
    """
    if len(ts) < 8:
        return None
    middle = int(np.median(np.diff(ts)))
    reach = int(ts[-1] - ts[0])
    if middle <= 0 or reach // middle > _EXACT // _STEP_UNIT:
        return None
    since = ts - ts[0]
    # Anew after each gap, so that a step which is a little wrong does not lose count.
    steps = np.cumsum(np.concatenate(([0], (np.diff(ts) + middle // 2) // middle)))
    spread = float(np.dot(steps - steps.mean(), steps - steps.mean()))
    if not spread:
        return None
    slope = float(np.dot(steps - steps.mean(), since - since.mean())) / spread
    unit = round(slope * _STEP_UNIT)
    if not 0 < unit * int(steps[-1]) < 2**62:
        return None
    beside = since - (steps * unit + _STEP_UNIT // 2) // _STEP_UNIT
    return (
        bytes([_REGULAR])
        + put_number(int(ts[0]))
        + put_number(unit)
        + put_ints(np.diff(steps, prepend=-1) - 1)
        + put_ints(beside)
    )


def decode_times(data: bytes) -> Times:
    """Raises :class:`Damaged`."""
    try:
        return _times(Source(data))
    except NONSENSE as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None


def _times(source: Source) -> Times:
    _check_layout(source)
    form = source.byte()
    if form == _DIRECT:
        ts = get_ints(source)
    elif form == _REGULAR:
        first, unit = source.number(), source.number()
        steps = np.cumsum(get_ints(source) + 1) - 1
        beside = get_ints(source)
        if len(steps) != len(beside):
            raise Damaged("two lengths of one list of times")
        ts = first + (steps * unit + _STEP_UNIT // 2) // _STEP_UNIT + beside
    else:
        raise Damaged(f"times in a form {form} that this version does not know")
    lengths, kinds = get_ints(source), get_ints(source)
    shared = np.cumsum(get_ints(source)) - 1
    numbers = np.cumsum(get_ints(source))
    if len(lengths) != len(kinds) or int(lengths.sum()) != len(ts) or len(shared) != len(numbers):
        raise Damaged("two lengths of one list of times")
    seq = np.zeros(len(ts), np.int64)
    if len(shared):
        if int(shared.min()) < 0 or int(shared.max()) >= len(ts):
            raise Damaged("an arrival number of no point")
        seq[shared] = numbers
    return Times(ts, seq, np.repeat(kinds.astype(np.uint8), lengths))


# Values


def encode_values(values: Sequence[Any], picks: Ints | None = None) -> bytes:
    """Bytes of at least one value; with ``picks`` they belong to these places of the times alone."""
    form, body = _form(values)
    if len(values) <= _SMALL and form != CONSTANT:
        plain = _mixed(values)
        if len(plain) < len(body):
            form, body = MIXED, plain
    if picks is None:
        return bytes([LAYOUT, form]) + body
    # Runs of places that are left out and taken, in turn.
    ends = np.flatnonzero(np.diff(picks, append=picks[-1] + 2) > 1)
    starts = np.concatenate(([0], ends[:-1] + 1))
    left_out = picks[starts] - np.concatenate(([0], picks[ends[:-1]] + 1))
    return bytes([LAYOUT, form | _PICKED]) + put_ints(left_out) + put_ints(ends - starts + 1) + body


def _form(values: Sequence[Any]) -> tuple[int, bytes]:
    kinds = set(map(type, values))
    if len(kinds) > 1:
        if kinds == {int, float}:
            found = _numbers(values)
            if found is not None:
                return NUMBERS, found
        return MIXED, _mixed(values)
    kind = kinds.pop()
    if kind is bool:
        flags = np.array(values, np.bool_)
        starts = np.flatnonzero(np.diff(flags, prepend=~flags[:1]))
        if len(starts) == 1:
            return CONSTANT, put_number(len(values)) + _pack(values[0])
        return BOOLEANS, bytes([bool(flags[0])]) + put_ints(np.diff(starts, append=len(flags)))
    if kind is int:
        whole = np.array(values, np.int64)
        if whole[0] == whole[-1] and bool((whole == whole[0]).all()):
            return CONSTANT, put_number(len(values)) + _pack(values[0])
        return INTEGERS, put_ints(whole)
    if kind is float:
        floats = np.array(values, np.float64)
        bits = floats.view(np.int64)
        if bits[0] == bits[-1] and bool((bits == bits[0]).all()):
            return CONSTANT, put_number(len(values)) + _pack(values[0])
        scaled = _scaled(floats)
        if scaled is not None:
            return DECIMALS, bytes([scaled[0]]) + put_ints(scaled[1])
        return FLOATS, put_floats(floats)
    if kind is str:
        if all(one == values[0] for one in values):
            return CONSTANT, put_number(len(values)) + _pack(values[0])
        return TEXTS, _texts(values)
    return MIXED, _mixed(values)


def _scaled(floats: Floats) -> tuple[int, Ints] | None:
    """How many decimals all of them have, and the integers that they are without the point; none where not exactly."""
    bits = floats.view(np.int64)
    for decimals in range(_DECIMALS_MOST + 1):
        power = 10.0**decimals
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.rint(floats * power)
            if not bool((np.abs(whole) < _EXACT).all()):
                return None
            # Adding zero would lose the sign of -0.0, which an integer does not have either: the bits tell.
            back = whole.astype(np.int64)
        if bool(((back / power).view(np.int64) == bits).all()):
            return decimals, back
        if decimals == 0:
            # Measured values that are no decimals show it in the first few already.
            few = floats[:8]
            most = 10.0**_DECIMALS_MOST
            with np.errstate(over="ignore", invalid="ignore"):
                tried = np.rint(few * most) / most
            if not bool((tried == few).all()):
                return None
    return None


def _numbers(values: Sequence[Any]) -> bytes | None:
    """Integers and floats in turn, as most ways of writing JSON leave them: 21 and then 21.5."""
    if any(type(one) is int and not -_EXACT < one < _EXACT for one in values):
        return None
    floats = np.array(values, np.float64)
    whole = np.array([type(one) is int for one in values], np.bool_)
    scaled = _scaled(floats)
    body = bytes([scaled[0]]) + put_ints(scaled[1]) if scaled is not None else bytes([0xFF]) + put_floats(floats)
    if bool((whole == (floats == np.rint(floats))).all()):
        return b"\0" + body
    bits = zstandard.compress(np.packbits(whole).tobytes(), _COMPRESSION)
    return b"\1" + put_number(len(bits)) + bits + body


def _texts(values: Sequence[str]) -> bytes:
    words = {word: place for place, word in enumerate(dict.fromkeys(values))}
    places = np.fromiter((words[one] for one in values), np.int64, len(values))
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    book = zstandard.compress(_pack(list(words)), _COMPRESSION)
    return put_number(len(book)) + book + put_ints(places[starts]) + put_ints(np.diff(starts, append=len(values)))


def _mixed(values: Sequence[Any]) -> bytes:
    return put_number(len(values)) + zstandard.compress(_pack(list(values)), _COMPRESSION)


def decode_values(data: bytes) -> tuple[Ints | None, Values]:
    """The places (none: all of them) and the values; see :func:`plain`. Raises :class:`Damaged`."""
    try:
        return _picks_and_values(Source(data))
    except NONSENSE as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None


def _picks_and_values(source: Source) -> tuple[Ints | None, Values]:
    _check_layout(source)
    form = source.byte()
    picks = None
    if form & _PICKED:
        left_out, taken = get_ints(source), get_ints(source)
        if len(left_out) != len(taken) or int(taken.min(initial=0)) < 0:
            raise Damaged("two lengths of one list of places")
        starts = np.cumsum(left_out + np.concatenate(([0], taken[:-1])))
        picks = np.repeat(starts - (np.cumsum(taken) - taken), taken) + np.arange(int(taken.sum()))
        form &= ~_PICKED
    return picks, _values(form, source)


def _values(form: int, source: Source) -> Values:
    if form == CONSTANT:
        count = source.count()
        value = _unpack(source.rest())
        if type(value) in (bool, int, float):
            return np.full(count, value, {bool: np.bool_, int: np.int64, float: np.float64}[type(value)])
        return [value] * count
    if form == INTEGERS:
        return get_ints(source)
    if form == DECIMALS:
        return _decimals(source, source.byte())
    if form == FLOATS:
        return get_array(source)
    if form == BOOLEANS:
        first, lengths = source.byte(), get_ints(source)
        return np.repeat((np.arange(len(lengths)) % 2 == 0) == bool(first), lengths)
    if form == TEXTS:
        book = _unpack(_decompress(source.take(source.number())))
        places, lengths = get_ints(source), get_ints(source)
        return [
            word
            for place, length in zip(places.tolist(), lengths.tolist(), strict=True)
            for word in [book[place]] * length
        ]
    if form == MIXED:
        count = source.count()
        found: list[Any] = _unpack(_decompress(source.rest()))
        if len(found) != count:
            raise Damaged(f"{len(found)} values where {count} belong")
        return found
    if form == NUMBERS:
        rule = source.byte()
        bits = _decompress(source.take(source.number())) if rule else b""
        decimals = source.byte()
        floats = get_array(source) if decimals == 0xFF else _decimals(source, decimals)
        whole = np.unpackbits(np.frombuffer(bits, np.uint8))[: len(floats)] if rule else floats == np.rint(floats)
        return [int(one) if is_int else one for one, is_int in zip(floats.tolist(), whole.tolist(), strict=True)]
    raise Damaged(f"values in a form {form} that this version does not know")


def plain(values: Values) -> list[Any]:
    """The values as Python's own: bool, int, float, str, list, dict."""
    return values if isinstance(values, list) else values.tolist()


def _decimals(source: Source, decimals: int) -> Floats:
    if decimals > _DECIMALS_MOST:
        raise Damaged(f"{decimals} decimals")
    found: Floats = get_ints(source) / 10.0**decimals
    return found


def _decompress(data: bytes) -> bytes:
    if zstandard.frame_content_size(data) > _UNPACKED_MOST:
        raise Damaged("more bytes than a chunk ever holds")
    return zstandard.decompress(data, _UNPACKED_MOST)


def _check_layout(source: Source) -> None:
    layout = source.byte()
    if layout != LAYOUT:
        raise Damaged(f"layout {layout}, which a newer version wrote")
