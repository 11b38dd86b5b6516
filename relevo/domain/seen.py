"""Which numbered readings of a device have arrived: ``(boot, seq)`` pairs, exact while memory lasts.

For each start of the board (``boot``) the sequence numbers seen are kept as intervals, so a board that counts
without gaps costs one interval however long it runs. Memory is bounded: the start used longest ago is forgotten
first, and within a start the lowest interval. A number that was forgotten counts as new again: storing a reading
twice is better than losing one.
"""

from bisect import bisect_right
from typing import Any

from relevo.errors import Invalid

NUMBER_MAX = 2**63 - 1
MOST_BOOTS = 8
MOST_INTERVALS = 512


class _Numbers:
    """Sorted intervals that neither overlap nor touch: ``lows[i]`` to ``highs[i]``, both included."""

    __slots__ = ("highs", "lows")

    def __init__(self) -> None:
        self.lows: list[int] = []
        self.highs: list[int] = []

    def has(self, seq: int) -> bool:
        at = bisect_right(self.lows, seq) - 1
        return at >= 0 and seq <= self.highs[at]

    def add(self, seq: int) -> bool:
        lows, highs = self.lows, self.highs
        after = bisect_right(lows, seq)
        before = after - 1
        if before >= 0 and seq <= highs[before]:
            return False
        touches_before = before >= 0 and highs[before] == seq - 1
        touches_after = after < len(lows) and lows[after] == seq + 1
        if touches_before and touches_after:
            highs[before] = highs[after]
            del lows[after], highs[after]
        elif touches_before:
            highs[before] = seq
        elif touches_after:
            lows[after] = seq
        else:
            lows.insert(after, seq)
            highs.insert(after, seq)
        return True

    def remove(self, seq: int) -> bool:
        lows, highs = self.lows, self.highs
        at = bisect_right(lows, seq) - 1
        if at < 0 or seq > highs[at]:
            return False
        low, high = lows[at], highs[at]
        rest = [(a, b) for a, b in ((low, seq - 1), (seq + 1, high)) if a <= b]
        lows[at : at + 1] = [a for a, _ in rest]
        highs[at : at + 1] = [b for _, b in rest]
        return True


class Seen:
    """The numbered readings of one device. Not safe for threads."""

    __slots__ = ("_boot", "_boots", "_highs", "_next", "forgotten")

    def __init__(self) -> None:
        # In order of use, the last used at the end.
        self._boots: dict[int, _Numbers] = {}
        # Shortcut for the number that nearly always comes next.
        self._boot = -1
        self._next = -1
        self._highs: list[int] = []
        #: Intervals given up for lack of room, since the beginning.
        self.forgotten = 0

    def add(self, boot: int, seq: int) -> bool:
        """Note a reading; ``True`` when it is new.

        Raises :class:`relevo.errors.Invalid` (``seq_invalid``) unless both are integers from 0 to 2^63-1.
        """
        if seq == self._next and boot == self._boot and type(seq) is int and type(boot) is int:
            self._highs[-1] = seq
            self._next = seq + 1 if seq < NUMBER_MAX else -1
            return True
        _check(boot, seq)
        numbers = self._use(boot)
        new = numbers.add(seq)
        if len(numbers.lows) > MOST_INTERVALS:
            del numbers.lows[0], numbers.highs[0]
            self.forgotten += 1
        self._shortcut(boot, numbers)
        return new

    def has(self, boot: int, seq: int) -> bool:
        """Whether a reading is known; changes nothing. Raises as :meth:`add`."""
        _check(boot, seq)
        numbers = self._boots.get(boot)
        return numbers is not None and numbers.has(seq)

    def remove(self, boot: int, seq: int) -> bool:
        """Take a reading back whose commit failed, so that its repetition is new; ``True`` when it was known.

        Raises as :meth:`add`.
        """
        _check(boot, seq)
        numbers = self._boots.get(boot)
        if numbers is None or not numbers.remove(seq):
            return False
        if not numbers.lows:
            del self._boots[boot]
        elif len(numbers.lows) > MOST_INTERVALS:
            del numbers.lows[0], numbers.highs[0]
            self.forgotten += 1
        if boot == self._boot:
            self._shortcut(boot, numbers)
        return True

    def state(self) -> list[list[int]]:
        """A plain copy to keep: ``[[forgotten], [boot, low, high, low, high, …], …]`` in order of use."""
        if len(self._boots) == 1 and len(self._highs) == 1 and self._boot >= 0:
            # One start without gaps, which is nearly every device; this is asked once a device and commit.
            return [[self.forgotten], [self._boot, self._boots[self._boot].lows[0], self._highs[0]]]
        return [
            [self.forgotten],
            *(
                [boot, *(bound for pair in zip(numbers.lows, numbers.highs, strict=True) for bound in pair)]
                for boot, numbers in self._boots.items()
            ),
        ]

    @classmethod
    def restore(cls, state: Any) -> "Seen":
        """The reverse of :meth:`state`. Raises :class:`relevo.errors.Invalid` (``seen_damaged``)."""
        seen = cls()
        try:
            (seen.forgotten,), *boots = state
            if type(seen.forgotten) is not int:
                raise ValueError("forgotten")
            for boot, *bounds in boots:
                numbers = _Numbers()
                numbers.lows, numbers.highs = bounds[::2], bounds[1::2]
                _check(boot, bounds[-1])
                rising = all(a < b for a, b in zip(numbers.highs, numbers.lows[1:], strict=False))
                if len(bounds) % 2 or bounds != sorted(bounds) or not rising or bounds[0] < 0:
                    raise ValueError("bounds")
                seen._boots[boot] = numbers
                seen._shortcut(boot, numbers)
        except (ValueError, TypeError, IndexError, Invalid):
            raise Invalid("seen_damaged", "the stored record of readings that arrived cannot be read") from None
        return seen

    def _use(self, boot: int) -> _Numbers:
        numbers = self._boots.pop(boot, None) if boot != self._boot else self._boots.get(boot)
        if numbers is None:
            numbers = _Numbers()
            if len(self._boots) >= MOST_BOOTS:
                oldest = self._boots.pop(next(iter(self._boots)))
                self.forgotten += len(oldest.lows)
        self._boots[boot] = numbers
        return numbers

    def _shortcut(self, boot: int, numbers: _Numbers) -> None:
        self._boot = boot
        self._highs = numbers.highs
        self._next = numbers.highs[-1] + 1 if numbers.highs and numbers.highs[-1] < NUMBER_MAX else -1


def _check(boot: object, seq: object) -> None:
    for name, number in (("boot", boot), ("seq", seq)):
        if type(number) is not int or not 0 <= number <= NUMBER_MAX:
            raise Invalid("seq_invalid", f"{name} must be an integer from 0 to 2^63-1")
