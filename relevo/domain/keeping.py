"""For how long readings are kept as they came, as hours, and as days.

A :class:`Keeping` says it for a type of device and a key, either of them for all; the most particular one holds: of
type and key, else of the key, else of the type, else what the settings say. Ages are days; 0 is for ever.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from relevo.errors import FieldError, Invalid

KEEPINGS_MOST: Final = 1_000
DAYS_MOST: Final = 36_500
_NAME_MOST: Final = 128
_DAY: Final = 86_400_000
_FIELDS: Final = ("raw_days", "hours_days", "days_days")


class Ages(NamedTuple):
    """Days, 0 for ever: readings as they came, their hours, and their days."""

    raw_days: int = 0
    hours_days: int = 0
    days_days: int = 0


class Keeping(msgspec.Struct, array_like=True):
    """For devices of ``type`` and their ``key``; empty is any. ``id`` is made of both."""

    id: str
    type: str
    key: str
    raw_days: int
    hours_days: int
    days_days: int

    @property
    def ages(self) -> Ages:
        return Ages(self.raw_days, self.hours_days, self.days_days)


def id_of(type_: str, key: str) -> str:
    """Different for each pair."""
    return msgspec.json.encode([type_, key]).decode()


def check_ages(ages: Ages) -> None:
    """Raise :class:`Invalid` with an error for each field that is wrong."""
    wrong = [
        FieldError(field, f"must be 0 (for ever) to {DAYS_MOST} days", "retention_invalid")
        for field, days in zip(_FIELDS, ages, strict=True)
        if not 0 <= days <= DAYS_MOST
    ]
    for finer, coarser in ((0, 1), (1, 2)):
        if ages[coarser] and not 0 < ages[finer] <= ages[coarser]:
            text = f"must not be longer than {_FIELDS[coarser]} ({ages[coarser]}): what is coarser is kept as long"
            wrong.append(FieldError(_FIELDS[finer], text, "retention_invalid"))
    if wrong:
        raise Invalid("retention_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)


def check_keeping(one: Keeping) -> None:
    """Raise :class:`Invalid` with an error for each field that is wrong."""
    wrong = [
        FieldError(field, f"must be at most {_NAME_MOST} printable characters", "retention_invalid")
        for field, text in (("type", one.type), ("key", one.key))
        if len(text) > _NAME_MOST or not text.isprintable()
    ]
    if wrong:
        raise Invalid("retention_invalid", f"{wrong[0].field} {wrong[0].message}", wrong)
    check_ages(one.ages)


class Policy:
    """All of them together."""

    def __init__(self, default: Ages, keepings: Iterable[Keeping] = ()) -> None:
        self._default = default
        self._by = {(one.type, one.key): one.ages for one in keepings}

    @property
    def bounded(self) -> bool:
        """Whether anything ever goes by its age."""
        return any(map(any, (self._default, *self._by.values())))

    def ages(self, type_: str, key: str) -> Ages:
        """What holds for a key of devices of a type."""
        for pair in ((type_, key), ("", key), (type_, "")):
            if pair in self._by:
                return self._by[pair]
        return self._default


class Bounds(NamedTuple):
    """Of one series, milliseconds UTC: what is before goes."""

    raw: int
    hours: int
    days: int


class Limits(msgspec.Struct, array_like=True):
    """What goes: by age, seen from ``now``, and whatever is before ``raw``, ``hours``, ``days`` (milliseconds UTC)."""

    now: int
    default: Ages
    keepings: list[Keeping]
    raw: int = 0
    hours: int = 0
    days: int = 0

    def bounds(self, policy: Policy, type_: str, key: str) -> Bounds:
        """Of a key of devices of a type; ``policy`` is made of these ages."""
        least = (self.raw, self.hours, self.days)
        ages = policy.ages(type_, key)
        return Bounds(*(max(one, self.now - days * _DAY if days else 0) for one, days in zip(least, ages, strict=True)))
