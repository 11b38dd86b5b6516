"""What is left of an event when a device, or the name of a person, is erased. Pure.

Theory. Of a device everything goes that happened to it before it was removed; the removal itself stays, which says no
more than its id, when, and by whom. Lines about something else that name it, such as those of the door, lose the name.
Of a person nothing goes but the name: what was done stays answerable, and nobody can tell who it was. A device that
gets the same id later, and a person with the same name, are others: an erasure has a number, and what came after it is
not touched by it.
"""

import json
import re
from typing import Any, Final

import msgspec

from relevo.domain.events import AnyEvent, Audited, DeviceChanged, DeviceRemoved, NotificationRaised, UnclaimedSeen

ERASED: Final = "erased"
DEVICE: Final = "device"
PERSON: Final = "person"
WORD_LEAST: Final = 3
"""A shorter name is looked for in fields, not in sentences: there it could be any word."""
# Fields whose content is a name, and those that are sentences.
_NAMES: Final = frozenset({"by", "owner", "account", "target"})
_TEXTS: Final = frozenset({"detail", "text", "title", "note", "reason"})
_INSIDE: Final = frozenset({"detail", "body"})
_PART: Final = r"[A-Za-z0-9_.@-]"


class Erased(msgspec.Struct, frozen=True):
    """``kind`` is device or person; ``name`` an id or an account. ``others`` are what else means the same: the external
    id of a device, the address of a person. Events with numbers smaller than ``seq`` are meant.
    """

    kind: str
    name: str
    seq: int
    contract: str = ""
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Everything by which it is found."""
        return tuple(dict.fromkeys(one for one in (self.name, *self.others) if one))


class Eraser:
    """One erasure made ready."""

    def __init__(self, erased: Erased) -> None:
        self.erased = erased
        # The id of a device stays where people answer for what they did to it.
        self._exact = frozenset(erased.names if erased.kind == PERSON else erased.names[1:])
        words = sorted((one for one in erased.names if len(one) >= WORD_LEAST), key=len, reverse=True)
        self._words = (
            re.compile(rf"(?<!{_PART})(?:{'|'.join(map(re.escape, words))})(?![A-Za-z0-9_@-]|\.[A-Za-z0-9_])")
            if words
            else None
        )
        # As texts and as JSON has them.
        escaped = (json.dumps(one)[1:-1] for one in erased.names)
        self.needles = tuple({one.encode() for one in (*erased.names, *escaped)})

    def concerns(self, data: bytes) -> bool:
        """Whether it could be named in there."""
        return any(one in data for one in self.needles)

    def left_of(self, event: AnyEvent) -> AnyEvent | None:
        """The event without what is erased; itself when nothing is."""
        kind, erased = type(event), self.erased
        if erased.kind == DEVICE and kind is not DeviceRemoved:
            if kind is UnclaimedSeen:
                same = event.contract == erased.contract and event.external_id in erased.names  # type: ignore[union-attr]
                return None if same else event
            if getattr(event, "device", "") == erased.name:
                return None
            if kind is Audited and event.target == erased.name and event.detail:  # type: ignore[union-attr]
                return msgspec.structs.replace(event, detail={})
        changes: dict[str, Any] = {}
        for field in _plan(kind):
            before = getattr(event, field)
            after = self.field(field, before)
            if after != before:
                changes[field] = after
        return msgspec.structs.replace(event, **changes) if changes else event

    def field(self, name: str, value: Any) -> Any:
        """What is left of a field with this name."""
        if isinstance(value, str):
            if name in _NAMES:
                return ERASED if value in self._exact else value
            return self.text(value)
        if name == "changes":
            return {key: self.field(key, one) if key == "owner" else one for key, one in value.items()}
        return self.inside(value)

    def text(self, text: str) -> str:
        """A sentence without the name as a word."""
        return self._words.sub(ERASED, text) if self._words is not None else text

    def inside(self, value: Any) -> Any:
        """JSON without texts that are the name, or in which it stands."""
        if isinstance(value, str):
            return ERASED if value in self._exact else self.text(value)
        if isinstance(value, list):
            return [self.inside(one) for one in value]
        if isinstance(value, dict):
            return {key: self.inside(one) for key, one in value.items()}
        return value


_plans: Final[dict[type, tuple[str, ...]]] = {}


def _plan(kind: type) -> tuple[str, ...]:
    """The fields of a kind of event in which somebody may be named."""
    found = _plans.get(kind)
    if found is None:
        fields: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]
        wanted = _NAMES | _TEXTS | _INSIDE
        found = tuple(one for one in fields if one in wanted)
        if kind is DeviceChanged:
            found += ("changes",)
        if kind is NotificationRaised:
            found += ("to",)
        _plans[kind] = found
    return found


def left_of(events: list[AnyEvent | None], first: int, erasers: list[Eraser]) -> list[AnyEvent | None] | None:
    """A row of the journal whose first event has the number ``first``; nothing when it stays as it is."""
    changed = False
    found: list[AnyEvent | None] = []
    for n, event in enumerate(events, first):
        left = event
        for one in erasers:
            if left is not None and n < one.erased.seq:
                left = one.left_of(left)
        changed = changed or left is not event
        found.append(left)
    return found if changed else None
