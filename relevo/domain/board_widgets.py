"""The widgets of a board: their types, what each may say, and which devices and keys it shows.

A widget is checked by its type's own options. What is wrong is told with its place, ``widgets[3].options.max``, and the
limit that it broke, one problem of each widget.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from relevo.domain.boards import COLUMNS, DOCUMENT_BYTES_MOST, WIDGETS_MOST
from relevo.domain.intervals import parse_interval
from relevo.errors import FieldError, Invalid

PLACEHOLDER: Final = "$device"
"""Stands for the device in a template."""
ROWS_MOST: Final = 1_000
HEIGHT_MOST: Final = 50
PARAMS_BYTES_MOST: Final = 4_096
REASON: Final = "widget_invalid"
T = TypeVar("T")
_encode: Final = msgspec.json.Encoder().encode

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:$-]+$")]
Key: TypeAlias = Annotated[str, Meta(max_length=256)]
Label: TypeAlias = Annotated[str, Meta(max_length=128)]
Unit: TypeAlias = Annotated[str, Meta(max_length=16)]
Number: TypeAlias = Annotated[float, Meta(ge=-1e15, le=1e15)]
Decimals: TypeAlias = Annotated[int, Meta(ge=0, le=10)]
Percent: TypeAlias = Annotated[float, Meta(ge=0, le=100)]
Pin: TypeAlias = Annotated[str, Meta(pattern=r"^(|v(0|[1-9][0-9]{0,3}))$")]
Span: TypeAlias = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}[mhdw]$")]
Color: TypeAlias = Annotated[str, Meta(pattern=r"^(|#[0-9a-fA-F]{6})$")]
Scalar: TypeAlias = bool | int | float | Annotated[str, Meta(max_length=256)]
Aggregate: TypeAlias = Literal["", "min", "max", "mean", "count", "first", "last", "sum", "increase", "on"]
Severity: TypeAlias = Literal["info", "warning", "critical"]


class _Options(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What one type of widget may say beside its place."""


class Value(_Options):
    """The newest value; with ``trend`` also its last ``range``."""

    unit: Unit = ""
    decimals: Decimals | None = None
    trend: bool = False
    range: Span = "24h"
    virtual_pin: Pin = ""


class Gauge(_Options):
    """A value between ``min`` and ``max``; beyond ``warn`` and ``critical``, with ``below`` under them, it changes
    colour."""

    min: Number = 0.0
    max: Number = 100.0
    warn: Number | None = None
    critical: Number | None = None
    below: bool = False
    unit: Unit = ""
    decimals: Decimals | None = None
    virtual_pin: Pin = ""


class Series(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A line of a chart."""

    device: Id
    key: Annotated[str, Meta(min_length=1, max_length=256)]
    label: Label = ""
    unit: Unit = ""
    color: Color = ""


class Chart(_Options):
    """Lines, or ``aggregate`` for each ``interval``, over the last ``range``."""

    series: Annotated[list[Series], Meta(max_length=16)] = []
    range: Span = "24h"
    aggregate: Aggregate = ""
    interval: Annotated[str, Meta(max_length=8)] = ""
    unit: Unit = ""
    min: Number | None = None
    max: Number | None = None


class Switch(_Options):
    """``mode`` ``switch`` turns a relay or switch of any contract, ``desired`` desires ``on`` or ``off`` for the
    key."""

    mode: Literal["switch", "desired"] = "switch"
    on: Scalar = True
    off: Scalar = False
    on_label: Label = ""
    off_label: Label = ""
    confirm: bool = False
    virtual_pin: Pin = ""


class Slider(_Options):
    """Desires the value for the key, or with ``target`` ``command`` sends ``command`` with the value as ``param``."""

    min: Number = 0.0
    max: Number = 100.0
    step: Annotated[float, Meta(gt=0, le=1e15)] = 1.0
    target: Literal["desired", "command"] = "desired"
    command: Label = ""
    param: Label = ""
    unit: Unit = ""
    virtual_pin: Pin = ""


class Button(_Options):
    """Sends a command."""

    command: Annotated[str, Meta(min_length=1, max_length=128)]
    params: dict[str, Any] = {}
    label: Label = ""
    confirm: bool = False


class Status(_Options):
    """Whether the device is there."""

    last_seen: bool = True


class TextBlock(_Options):
    """What somebody wrote."""

    text: Annotated[str, Meta(max_length=4_000)] = ""


class PicturePin(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A value at a place of a picture, in percent of its width and height."""

    x: Percent
    y: Percent
    device: Id
    key: Key = ""
    label: Label = ""
    unit: Unit = ""
    decimals: Decimals | None = None


class PictureMap(_Options):
    """A picture with values on it."""

    picture: Annotated[str, Meta(max_length=64)] = ""
    pins: Annotated[list[PicturePin], Meta(max_length=64)] = []


class Table(_Options):
    """A row for each device, those named or all that have ``tag``, a column for each key."""

    devices: Annotated[list[Id], Meta(max_length=100)] = []
    tag: Annotated[str, Meta(max_length=64)] = ""
    keys: Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=16)] = []
    last_seen: bool = True


class AlertList(_Options):
    """Open alerts from ``severity`` up, of these devices or of all that one may view."""

    severity: Severity = "info"
    devices: Annotated[list[Id], Meta(max_length=100)] = []
    acknowledged: bool = True
    limit: Annotated[int, Meta(ge=1, le=50)] = 10


class Countdown(_Options):
    """Until ``relay`` of the device goes off, or ``schedule`` runs."""

    relay: Annotated[int, Meta(ge=1, le=64)] | None = None
    schedule: Annotated[str, Meta(max_length=64)] = ""


class VirtualPin(_Options):
    """A virtual pin of a device of contract thingsnxt."""

    virtual_pin: Annotated[str, Meta(pattern=r"^v(0|[1-9][0-9]{0,3})$")]
    shown: Literal["value", "switch", "slider"] = "value"
    min: Number = 0.0
    max: Number = 100.0
    step: Annotated[float, Meta(gt=0, le=1e15)] = 1.0
    unit: Unit = ""


TYPES: Final[dict[str, type[_Options]]] = {
    "value": Value,
    "gauge": Gauge,
    "chart": Chart,
    "switch": Switch,
    "slider": Slider,
    "button": Button,
    "status": Status,
    "text": TextBlock,
    "picture": PictureMap,
    "table": Table,
    "alerts": AlertList,
    "countdown": Countdown,
    "pin": VirtualPin,
}
# What cannot be without a device, and what cannot be without its key.
_OF_DEVICE: Final = frozenset({"value", "gauge", "switch", "slider", "button", "status", "pin"})
_OF_KEY: Final = frozenset({"value", "gauge", "switch"})


class Frame(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What widgets of all types have: where on the grid they are, and as a rule one device and one of its keys."""

    type: str
    x: Annotated[int, Meta(ge=0, lt=COLUMNS)]
    y: Annotated[int, Meta(ge=0, lt=ROWS_MOST)]
    w: Annotated[int, Meta(ge=1, le=COLUMNS)]
    h: Annotated[int, Meta(ge=1, le=HEIGHT_MOST)]
    id: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = ""
    title: Label = ""
    device: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_.:$-]*$")] = ""
    key: Key = ""
    options: dict[str, Any] = {}


class Shown(NamedTuple):
    """A key of a device that a widget shows; an empty key is the device itself."""

    device: str
    key: str


def check(widgets: Sequence[Any]) -> list[dict[str, Any]]:
    """``widgets`` with every default filled in, those without an id with a free one.

    Raises :class:`Invalid` with an error for each widget that is wrong.
    """
    if len(widgets) > WIDGETS_MOST:
        raise wrong([FieldError("widgets", f"has {len(widgets)} widgets, the limit is {WIDGETS_MOST}", REASON)])
    found: list[dict[str, Any]] = []
    problems: list[FieldError] = []
    seen: set[str] = set()
    for n, one in enumerate(widgets):
        try:
            frame, options = _read(one)
            if frame.id and frame.id in seen:
                raise _Problem("id", f"{frame.id!r} is another widget's already")
        except _Problem as problem:
            problems.append(FieldError(_place(n, problem.where), problem.words, REASON))
            continue
        seen.add(frame.id)
        found.append(msgspec.structs.asdict(frame) | {"options": msgspec.to_builtins(options)})
    if problems:
        raise wrong(problems)
    free = (f"w{n}" for n in range(1, 2 * WIDGETS_MOST + 2))
    for widget in found:
        if not widget["id"]:
            widget["id"] = next(one for one in free if one not in seen)
    size = len(_encode(found))
    if size > DOCUMENT_BYTES_MOST:
        words = f"has {size} bytes as JSON, the limit is {DOCUMENT_BYTES_MOST}"
        raise wrong([FieldError("widgets", words, REASON)])
    return found


def wrong(problems: list[FieldError]) -> Invalid:
    return Invalid(REASON, f"{problems[0].field} {problems[0].message}", problems)


def field(n: int, place: str) -> str:
    """How the place ``place`` of the widget with the number ``n`` is called in an error."""
    return _place(n, place)


def named_by(widget: Mapping[str, Any]) -> list[tuple[str, Shown]]:
    """What a widget shows of devices that it names, each with its place; what it finds by a tag is not among them."""
    options = widget["options"]
    found: list[tuple[str, Shown]] = []
    if widget["device"]:
        found.append(("device", Shown(widget["device"], key_of(widget))))
    match widget["type"]:
        case "chart":
            lines = enumerate(options["series"])
            found += [(f"options.series[{n}].device", Shown(one["device"], one["key"])) for n, one in lines]
        case "picture":
            pins = enumerate(options["pins"])
            found += [(f"options.pins[{n}].device", Shown(one["device"], one["key"])) for n, one in pins]
        case "table":
            rows = enumerate(options["devices"])
            keys = options["keys"] or [""]
            found += [(f"options.devices[{n}]", Shown(one, key)) for n, one in rows for key in keys]
        case "alerts":
            found += [(f"options.devices[{n}]", Shown(one, "")) for n, one in enumerate(options["devices"])]
    return found


def shown_by(widget: Mapping[str, Any]) -> list[Shown]:
    """The same, each once."""
    return list(dict.fromkeys(shown for _, shown in named_by(widget)))


def charted_by(widget: Mapping[str, Any]) -> list[Shown]:
    """Of what a widget shows the past, too."""
    if widget["type"] == "chart" or (widget["type"] == "value" and widget["options"]["trend"]):
        return [one for one in shown_by(widget) if one.key]
    return []


def span_ms(widget: Mapping[str, Any]) -> int:
    """How far back the past goes that a widget shows, milliseconds."""
    text = widget["options"]["range"]
    return int(text[:-1]) * {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}[text[-1]]


def key_of(widget: Mapping[str, Any]) -> str:
    """The key of the widget's own device that it shows and steers, empty for none."""
    found: str = widget["options"].get("virtual_pin") or widget["key"]
    return found


def is_open(widget: Mapping[str, Any]) -> bool:
    """Whether it shows devices that it does not name: whichever the one who looks may view."""
    options = widget["options"]
    return (widget["type"] == "table" and bool(options["tag"])) or (
        widget["type"] == "alerts" and not options["devices"] and not widget["device"]
    )


def pictures_of(widgets: Sequence[Mapping[str, Any]]) -> set[str]:
    """The ids of the pictures on a board."""
    return {one["options"]["picture"] for one in widgets if one["type"] == "picture"} - {""}


def with_device(widgets: Sequence[Mapping[str, Any]], before: str, after: str) -> list[dict[str, Any]]:
    """``widgets`` with the device ``after`` wherever ``before`` was."""

    def put(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: after if name == "device" and one == before else named(one) if name == "devices" else put(one)
                for name, one in value.items()
            }
        return [put(one) for one in value] if isinstance(value, list) else value

    def named(value: Any) -> Any:
        return [after if one == before else one for one in value] if isinstance(value, list) else put(value)

    found = []
    for one in widgets:
        options = one["options"]
        # What a command is told is nobody's to change.
        changed = {name: value if name == "params" else put({name: value})[name] for name, value in options.items()}
        found.append(dict(one) | {"device": after if one["device"] == before else one["device"], "options": changed})
    return found


class _Problem(Exception):
    def __init__(self, where: str, words: str) -> None:
        super().__init__(f"{where} {words}")
        self.where = where
        self.words = words


_AT: Final = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)


def _read(one: Any) -> tuple[Frame, _Options]:
    frame = _converted(one, Frame, "")
    kind = TYPES.get(frame.type)
    if kind is None:
        raise _Problem("type", f"must be one of {', '.join(TYPES)}")
    options = _converted(frame.options, kind, "options")
    if frame.x + frame.w > COLUMNS:
        raise _Problem("w", f"is {frame.w} at x {frame.x}: the grid has {COLUMNS} columns")
    if frame.type in _OF_DEVICE and not frame.device:
        raise _Problem("device", f"is needed by a widget of type {frame.type}")
    pin = getattr(options, "virtual_pin", "")
    if frame.type in _OF_KEY and not frame.key and not pin:
        raise _Problem("key", f"is needed by a widget of type {frame.type}")
    _fit(frame, options, pin)
    return frame, options


def _fit(frame: Frame, options: _Options, pin: str) -> None:
    """What one field says about another. Raises :class:`_Problem`."""
    match options:
        case Gauge() | Slider() | VirtualPin() if options.min >= options.max:
            raise _Problem("options.max", f"must be more than options.min, which is {options.min:g}")
        case Chart(min=low, max=high) if low is not None and high is not None and low >= high:
            raise _Problem("options.max", f"must be more than options.min, which is {low:g}")
        case Slider(target="command", command=""):
            raise _Problem("options.command", "is needed with the target command")
        case Slider(target="desired") if not frame.key and not pin:
            raise _Problem("key", "is needed by a slider with the target desired")
        case Chart(series=[]) if not (frame.device and frame.key):
            raise _Problem("options.series", "is empty, and there is no device and key beside it")
        case Chart(aggregate=aggregate, interval=interval) if bool(aggregate) != bool(interval):
            raise _Problem("options.interval", "and options.aggregate go together: give both or none")
        case Chart(interval=interval) if interval:
            try:
                parse_interval(interval)
            except Invalid as error:
                raise _Problem("options.interval", str(error).removeprefix("interval ")) from None
        case Button(params=params) if len(_encode(params)) > PARAMS_BYTES_MOST:
            raise _Problem("options.params", f"must have at most {PARAMS_BYTES_MOST} bytes as JSON")
        case Table(devices=[], tag=""):
            raise _Problem("options.devices", "and options.tag are empty: give one of them")
        case Table(devices=[_, *_], tag=tag) if tag:
            raise _Problem("options.tag", "and options.devices are two choices: give one of them")
        case Countdown(relay=None, schedule=""):
            raise _Problem("options.relay", "and options.schedule are empty: give one of them")
        case Countdown(relay=int(), schedule=schedule) if schedule:
            raise _Problem("options.schedule", "and options.relay are two choices: give one of them")
        case Countdown(relay=int()) if not frame.device:
            raise _Problem("device", "is needed to count down a relay's timer")


def _converted(one: Any, kind: type[T], below: str) -> T:
    try:
        return msgspec.convert(one, kind, strict=True)
    except msgspec.ValidationError as error:
        words, place = _AT.fullmatch(str(error)).groups()  # type: ignore[union-attr]
        where = (place or "").removeprefix(".")
        # It names an unknown or missing field in its words alone.
        named = re.search(r"field `([^`]{1,64})", words)
        if named and ("unknown" in words or "missing" in words):
            where = f"{where}.{named[1]}" if where else named[1]
        path = f"{below}.{where}" if below and where else below or where
        raise _Problem(path or "", words[0].lower() + words[1:]) from None


def _place(n: int, where: str) -> str:
    return f"widgets[{n}].{where}" if where else f"widgets[{n}]"
