"""Twins: what a device is to be (*desired*) beside what it says that it is (*reported*).

Theory. Each is a document of values by key with a version that only grows. A key that somebody desires is a *wish*::

    pending --DesiredAgreed--> agreed       the device reported the same value
       |                          ^
       +--DesiredFailed--> failed-+         it was in contact for long enough and did not

While a wish is pending its value is the *effective* one and it is part of the *delta* that the device gets; a report of
another value is kept and does not cancel it. Agreed or failed, the wish is over: what the device reports is effective,
whatever it will be, and nothing is sent again, so that a relay which somebody switched by hand is not switched back
hours later. A failed wish whose value the device reports after all has agreed. Asking again for what is over begins
anew. (Contract thingsnxt, section 3.1, for all contracts.)

What is desired and reported already has agreed at once, unless an earlier wish for the key may still be on its way.

*Contact* is what was heard of the device after the wish; time in which it was away counts for nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from relevo.domain.events import DesiredAgreed, DesiredChanged, DesiredFailed, ReportedChanged
from relevo.domain.telemetry import TelemetryLimits, check_values
from relevo.errors import FieldError, Invalid

PENDING: Final = "pending"
AGREED: Final = "agreed"
FAILED: Final = "failed"
# How an agreement came about.
REPORTED: Final = "reported"
DELIVERED: Final = "delivered"

BYTES_MOST: Final = 16_384
KEYS_MOST: Final = 256
DEPTH_MOST: Final = 8
LIMITS: Final = TelemetryLimits(keys=KEYS_MOST, json_bytes=BYTES_MOST, json_depth=DEPTH_MOST)
# The attribute of a device that replaces the setting.
AGREE_WITHIN: Final = "agree_within_s"

TWIN_EVENTS: Final = frozenset({DesiredChanged, DesiredAgreed, DesiredFailed, ReportedChanged})
TwinEvent: TypeAlias = DesiredChanged | DesiredAgreed | DesiredFailed | ReportedChanged
_encode: Final = msgspec.json.Encoder().encode


class Wish(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One desired key: since ``at`` by ``by`` with the document's ``version``; in ``state`` since ``since``."""

    value: Any
    at: int
    by: str
    version: int
    state: str
    since: int


class Report(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reported key: the value it has since ``at``, with the document's ``version``."""

    value: Any
    at: int
    by: str
    version: int


class Twin(msgspec.Struct, gc=False):
    """Both documents of one device. Times in milliseconds UTC."""

    desired: dict[str, Wish] = {}
    reported: dict[str, Report] = {}
    desired_version: int = 0
    reported_version: int = 0

    def copy(self) -> "Twin":
        return Twin(dict(self.desired), dict(self.reported), self.desired_version, self.reported_version)

    def is_pending(self) -> bool:
        return any(wish.state == PENDING for wish in self.desired.values())


def apply(twin: Twin, event: TwinEvent) -> None:
    """Let ``twin`` follow one event."""
    if isinstance(event, DesiredChanged):
        twin.desired_version = version = max(event.version, twin.desired_version + 1)
        for key in event.removed:
            twin.desired.pop(key, None)
        for key, value in event.values.items():
            twin.desired[key] = Wish(value, event.at, event.by, version, PENDING, event.at)
    elif isinstance(event, ReportedChanged):
        twin.reported_version = version = max(event.version, twin.reported_version + 1)
        for key in event.removed:
            twin.reported.pop(key, None)
        for key, value in event.values.items():
            twin.reported[key] = Report(value, event.at, event.by, version)
    else:
        state = AGREED if isinstance(event, DesiredAgreed) else FAILED
        for key in event.keys:
            wish = twin.desired.get(key)
            if wish is not None and (wish.state == PENDING or (wish.state == FAILED and state == AGREED)):
                twin.desired[key] = msgspec.structs.replace(wish, state=state, since=event.at)


def desired_values(twin: Twin) -> dict[str, Any]:
    return {key: wish.value for key, wish in twin.desired.items()}


def reported_values(twin: Twin) -> dict[str, Any]:
    return {key: report.value for key, report in twin.reported.items()}


def delta(twin: Twin) -> dict[str, Any]:
    """What the device has still to become: the wishes that are pending."""
    return {key: wish.value for key, wish in twin.desired.items() if wish.state == PENDING}


def effective(twin: Twin) -> dict[str, Any]:
    """What is shown of every key: the wish while it is pending, otherwise what the device reports.

    Of a key that the device never reports, a wish that was delivered and by that agreed stays.
    """
    shown = reported_values(twin)
    for key, wish in twin.desired.items():
        if wish.state == PENDING or (wish.state == AGREED and key not in shown):
            shown[key] = wish.value
    return shown


def desire(
    twin: Twin, device: str, values: Mapping[str, Any], named: Iterable[str], at: int, by: str
) -> list[TwinEvent]:
    """The events that make ``values`` the desired document.

    Keys among ``named`` are asked for now, so a wish that is over begins again. Nothing for what changes nothing.
    """
    named = frozenset(named)
    fresh = {key: value for key, value in values.items() if not _stands(twin, key, value, key in named)}
    removed = [key for key in twin.desired if key not in values]
    if not fresh and not removed:
        return []
    events: list[TwinEvent] = [DesiredChanged(device, at, twin.desired_version + 1, fresh, removed, by)]
    agreed = [key for key, value in fresh.items() if _is_so_already(twin, key, value)]
    if agreed:
        events.append(DesiredAgreed(device, at, agreed, REPORTED))
    return events


def _stands(twin: Twin, key: str, value: Any, named: bool) -> bool:
    """Whether ``key`` has this wish already and need not be asked for again."""
    wish = twin.desired.get(key)
    if wish is None or not same(wish.value, value):
        return False
    if not named or wish.state == PENDING:
        return True
    report = twin.reported.get(key)
    return wish.state == AGREED and (report is None or same(report.value, value))


def _is_so_already(twin: Twin, key: str, value: Any) -> bool:
    wish, report = twin.desired.get(key), twin.reported.get(key)
    # An earlier wish may be on its way to the device, which then must hear of this one.
    return report is not None and same(report.value, value) and (wish is None or wish.state == AGREED)


def report(
    twin: Twin,
    device: str,
    said: Mapping[str, Any],
    at: int,
    by: str,
    whole: bool = False,
    replaced: Collection[str] = (),
) -> tuple[list[TwinEvent], list[Invalid]]:
    """The events of a device's report, and what of it is refused.

    ``said`` is merged into the reported document (RFC 7396: null takes a key away), or with ``whole`` replaces it. The
    values of ``replaced`` keys take the place of the former ones in any case.
    """
    new, refused = _fitting(twin, said, whole, replaced)
    values = {key: value for key, value in new.items() if key not in twin.reported or not _is(twin, key, value)}
    removed = [key for key in twin.reported if key not in new]
    events: list[TwinEvent] = []
    if values or removed:
        events.append(ReportedChanged(device, at, twin.reported_version + 1, values, removed, by))
    agreed = [
        key
        for key, wish in twin.desired.items()
        if key in said and wish.state != AGREED and key in new and same(new[key], wish.value)
    ]
    if agreed:
        events.append(DesiredAgreed(device, at, agreed, REPORTED))
    return events, refused


def _is(twin: Twin, key: str, value: Any) -> bool:
    return same(twin.reported[key].value, value)


def delivered(twin: Twin, device: str, keys: Iterable[str], at: int) -> list[TwinEvent]:
    """What it means that the device got ``keys``, where its contract reports not all of them: those it never reports
    have agreed."""
    agreed = [key for key in keys if _is_pending(twin, key) and key not in twin.reported]
    return [DesiredAgreed(device, at, agreed, DELIVERED)] if agreed else []


def give_up(twin: Twin, device: str, keys: Iterable[str], at: int) -> list[TwinEvent]:
    """What becomes of ``keys`` that the device was in contact for and did not report since."""
    events: list[TwinEvent] = []
    pending = [key for key in keys if _is_pending(twin, key)]
    # It was so before the wish, and the device saw no reason to say anything else.
    agreed = [key for key in pending if key in twin.reported and _is(twin, key, twin.desired[key].value)]
    failed = [key for key in pending if key not in agreed]
    if agreed:
        events.append(DesiredAgreed(device, at, agreed, REPORTED))
    if failed:
        shown = {key: twin.reported[key].value for key in failed if key in twin.reported}
        events.append(DesiredFailed(device, at, failed, {key: twin.desired[key].value for key in failed}, shown))
    return events


def _is_pending(twin: Twin, key: str) -> bool:
    return key in twin.desired and twin.desired[key].state == PENDING


class Contact:
    """For how long a device was heard since each of its pending wishes. Times in milliseconds that never jump."""

    __slots__ = ("_began", "_last", "_spent")

    def __init__(self) -> None:
        self._last: int | None = None
        self._began: dict[str, int] = {}
        # Wishes since whose beginning it was heard at least once.
        self._spent: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._began)

    def pending(self) -> list[str]:
        """The wishes that it follows."""
        return list(self._began)

    def wished(self, key: str, at: int) -> None:
        """A wish began, or began anew."""
        self._began[key] = at
        self._spent.pop(key, None)

    def over(self, key: str) -> None:
        self._began.pop(key, None)
        self._spent.pop(key, None)

    def heard(self, at: int, unbroken: bool, silence_ms: int) -> None:
        """It was heard. The time since it was heard before counts when its connection lasted (``unbroken``), and
        without a connection when it was not silent for longer than ``silence_ms``."""
        gap = at - self._last if self._last is not None else 0
        if gap < 0:
            return
        if not unbroken and gap > silence_ms:
            gap = 0
        self._last = at
        for key, began in self._began.items():
            if key in self._spent:
                self._spent[key] += gap
            elif at >= began:
                self._spent[key] = 0

    def broke(self) -> None:
        """Its connection ended: until it is heard again it is away."""
        self._last = None

    def exhausted(self, within_ms: int) -> list[str]:
        """Wishes for which it was in contact for ``within_ms``."""
        return [key for key, spent in self._spent.items() if spent >= within_ms]


def agree_within_ms(attributes: Mapping[str, Any], otherwise_s: float) -> int:
    """How long a device may be in contact without agreeing, in milliseconds; its attribute counts when it is a number
    of seconds above 0."""
    own = attributes.get(AGREE_WITHIN)
    if isinstance(own, int | float) and not isinstance(own, bool) and 0 < own < 1e8:
        return round(own * 1000)
    return round(otherwise_s * 1000)


def merged(values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` after ``patch`` (RFC 7396)."""
    out = dict(values)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merged_value(out.get(key), value)
    return out


def _merged_value(before: Any, value: Any) -> Any:
    if type(value) is not dict:
        return value
    return merged(before if type(before) is dict else {}, value)


def check_document(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` when they can be a document. Raises :class:`Invalid` that names every field and the limit."""
    kept, refused = check_values(values, LIMITS)
    if refused:
        errors = [
            FieldError(f"values.{error.field}", error.message, error.reason) for one in refused for error in one.errors
        ]
        first = refused[0]
        # Too many keys belong to none of them.
        errors += [FieldError("values", one.message, one.reason) for one in refused if not one.errors]
        raise Invalid(first.reason, f"values{'.' if first.errors else ': '}{first.message}", errors)
    size = len(_encode(kept))
    if size > BYTES_MOST:
        raise _too_large("values", f"have {size} bytes as JSON, the limit is {BYTES_MOST}")
    return kept


def _fitting(
    twin: Twin, said: Mapping[str, Any], whole: bool, replaced: Collection[str]
) -> tuple[dict[str, Any], list[Invalid]]:
    """The reported values after what of ``said`` fits the limits; each key that does not is refused alone."""
    before = reported_values(twin)
    out = {key: value for key, value in before.items() if said.get(key, None if whole else value) is not None}
    fresh = {
        key: value
        for key, value in said.items()
        if value is not None and not (key in before and same(before[key], value))
    }
    if not fresh:
        return out, []
    # Before they are merged, because what is nested too deep cannot be.
    fresh, refused = check_values(fresh, LIMITS)
    if not whole:
        merges = {
            key: value if key in replaced else _merged_value(before.get(key), value) for key, value in fresh.items()
        }
        fresh, more = check_values(merges, LIMITS)
        refused += more
    if len({*out, *fresh}) <= KEYS_MOST and len(_encode(out | fresh)) <= BYTES_MOST:
        return out | fresh, refused
    size = len(_encode(out))
    for key, value in fresh.items():
        now = _size(key, out[key]) if key in out else 0
        if key not in out and len(out) >= KEYS_MOST:
            refused.append(_too_large(key, f"is beyond the {KEYS_MOST} keys of a document", "too_many_keys"))
        elif size - now + _size(key, value) > BYTES_MOST:
            refused.append(_too_large(key, f"makes the document larger than {BYTES_MOST} bytes as JSON"))
        else:
            size += _size(key, value) - now
            out[key] = value
    return out, refused


def _size(key: str, value: Any) -> int:
    """Bytes that a key adds to a document: quotes, colon and comma among them."""
    return len(_encode(key)) + len(_encode(value)) + 2


def _too_large(field: str, words: str, reason: str = "document_too_large") -> Invalid:
    return Invalid(reason, f"{field} {words}", [FieldError(field, words, reason)])


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, and true is not 1."""
    if type(one) is bool or type(other) is bool:
        return one is other
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
