"""The condition of a rule as JSON, and what it means.

Each node is an object with one member: ``{"value": {"key": "t", "op": ">", "than": 8, "for_s": 60}}``, and so
``rate``, ``absent``, ``expression``, ``changed``, ``presence``, ``state``, ``between``; ``{"all": […]}``,
``{"any": […]}``, ``{"not": {…}}``. All that is wrong is told at once, each with its place:
``condition.all.1.value.than``.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from relevo.domain.conditions import (
    COMPARE,
    EQUALITY,
    Absent,
    Between,
    Changed,
    Condition,
    Group,
    Holds,
    Node,
    Online,
    Rate,
    Reported,
    Value,
)
from relevo.domain.expressions import read_expression
from relevo.domain.telemetry import DEFAULT_LIMITS
from relevo.domain.timetables import DAY_MINUTES, DAYS
from relevo.domain.windows import Window
from relevo.domain.zones import zone_names
from relevo.errors import FieldError

DEPTH_MOST: Final = 6
NODES_MOST: Final = 32
DURATION_MOST_S: Final = 30 * 86_400
TEXT_MOST: Final = 256
REASON: Final = "rule_invalid"
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")

Check: TypeAlias = Callable[[Any], str]


class Tree(NamedTuple):
    """A condition taken apart: the conditions themselves, how they are grouped, and how many nodes that is."""

    root: Node
    conditions: tuple[Condition, ...]
    nodes: int


class _Field(NamedTuple):
    check: Check
    default: Any = None
    required: bool = True


def read_tree(raw: Any, field: str = "condition") -> tuple[Tree, list[FieldError]]:
    """The condition, and everything that is wrong with it; the tree is whole only when nothing is. Never raises."""
    reader = _Reader()
    root = reader.node(raw, field, 1)
    if reader.nodes > NODES_MOST:
        reader.wrong(field, f"has more than {NODES_MOST} nodes, the limit")
    return Tree(root, tuple(reader.conditions), reader.nodes), reader.errors


class _Reader:
    def __init__(self) -> None:
        self.conditions: list[Condition] = []
        self.errors: list[FieldError] = []
        self.nodes = 0

    def wrong(self, field: str, message: str) -> None:
        self.errors.append(FieldError(field, f"{field} {message}", REASON))

    def node(self, raw: Any, field: str, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > NODES_MOST:
            return 0
        if depth > DEPTH_MOST:
            self.wrong(field, f"is nested deeper than {DEPTH_MOST}")
            return 0
        if not isinstance(raw, dict) or len(raw) != 1:
            self.wrong(field, f"must be an object with one of {', '.join((*_KINDS, 'all', 'any', 'not'))}")
            return 0
        ((kind, body),) = raw.items()
        place = f"{field}.{kind}"
        if kind in ("all", "any"):
            if not isinstance(body, list) or not body:
                self.wrong(place, "must be a list of at least one condition")
                return 0
            return Group(kind, tuple(self.node(one, f"{place}.{n}", depth + 1) for n, one in enumerate(body)))
        if kind == "not":
            return Group(kind, (self.node(body, place, depth + 1),))
        if kind not in _KINDS:
            shown = ascii(kind)[:40]
            self.wrong(field, f"has {shown}; must be one of {', '.join((*_KINDS, 'all', 'any', 'not'))}")
            return 0
        return self._leaf(kind, body, place)

    def _leaf(self, kind: str, body: Any, place: str) -> int:
        fields, build, together = _KINDS[kind]
        if not isinstance(body, dict):
            self.wrong(place, "must be an object")
            return 0
        found: dict[str, Any] = {}
        sound = True
        for name in body:
            if name not in fields:
                sound = False
                self.wrong(f"{place}.{str(name)[:40]}", f"is unknown; may be {', '.join(fields)}")
        for name, spec in fields.items():
            if name not in body:
                found[name] = spec.default
                problem = "is missing" if spec.required else ""
            else:
                found[name] = body[name]
                problem = spec.check(body[name])
            if problem:
                sound = False
                self.wrong(f"{place}.{name}", problem)
        if sound and together is not None:
            name, problem = together(found)
            if problem:
                sound = False
                self.wrong(f"{place}.{name}", problem)
        if not sound:
            return 0
        self.conditions.append(build(found))
        return len(self.conditions) - 1


def check_duration(raw: Any) -> str:
    """Why this is no number of seconds from 0 to 30 days, or empty."""
    if problem := _number(raw):
        return problem
    return "" if 0 <= raw <= DURATION_MOST_S else f"must be 0 to {DURATION_MOST_S} seconds"


def _positive_duration(raw: Any) -> str:
    problem = check_duration(raw)
    return problem or ("" if raw >= 0.001 else f"must be 0.001 to {DURATION_MOST_S} seconds")


def _number(raw: Any) -> str:
    if type(raw) is int:
        return "" if abs(raw) < 2**63 else "must fit 64 bits"
    if type(raw) is not float:
        return "must be a number"
    return "" if math.isfinite(raw) else "must be a finite number"


def _not_negative(raw: Any) -> str:
    return _number(raw) or ("" if raw >= 0 else "must not be negative")


def _scalar(raw: Any) -> str:
    if type(raw) is bool:
        return ""
    if type(raw) is str:
        return "" if len(raw) <= TEXT_MOST else f"has {len(raw)} characters, the limit is {TEXT_MOST}"
    return "must be a number, a boolean or a text" if type(raw) not in (int, float) else _number(raw)


def _text(least: int, most: int) -> Check:
    def check(raw: Any) -> str:
        fits = type(raw) is str and least <= len(raw) <= most
        return "" if fits else f"must be a text of {least} to {most} characters"

    return check


def _one_of(words: tuple[str, ...]) -> Check:
    return lambda raw: "" if type(raw) is str and raw in words else f"must be one of {' '.join(words)}"


def _flag(raw: Any) -> str:
    return "" if type(raw) is bool else "must be true or false"


def _time(raw: Any) -> str:
    return "" if type(raw) is str and _TIME.fullmatch(raw) else "must be a time from 00:00 to 24:00"


def _zone(raw: Any) -> str:
    return "" if type(raw) is str and raw in zone_names() else "must be a time zone such as America/Lima"


def _days(raw: Any) -> str:
    fits = isinstance(raw, list | tuple) and raw and all(type(day) is str and day in DAYS for day in raw)
    return "" if fits and len(set(raw)) == len(raw) else f"must be a list of {' '.join(DAYS)}, each once"


def _value_together(found: dict[str, Any]) -> tuple[str, str]:
    if found["op"] in EQUALITY:
        return "hysteresis", "needs > >= < or <=" if found["hysteresis"] else ""
    return "than", f"must be a number to go with {found['op']}" if _number(found["than"]) else ""


def _between_together(found: dict[str, Any]) -> tuple[str, str]:
    if found["from"] == "24:00":
        return "from", "must be a time from 00:00 to 23:59"
    return "to", "must differ from from" if found["from"] == found["to"] else ""


def _minutes(text: str) -> int:
    return min(int(text[:2]) * 60 + int(text[3:]), DAY_MINUTES)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _window(found: dict[str, Any]) -> Between:
    return Between(Window(_minutes(found["from"]), _minutes(found["to"]), found["zone"], tuple(found["days"])))


def _expression(raw: Any) -> str:
    return read_expression(raw)[1] if type(raw) is str else "must be a text"


def _holds(found: dict[str, Any]) -> Holds:
    read, _ = read_expression(found["text"])
    assert read is not None
    return Holds(read.source, read.keys, _ms(found["for_s"]))


_KEY = _Field(_text(1, DEFAULT_LIMITS.key_chars))
_OP = _Field(_one_of(tuple(COMPARE)))
_FOR = _Field(check_duration, 0, required=False)
_KINDS: Final[
    dict[
        str,
        tuple[
            dict[str, _Field],
            Callable[[dict[str, Any]], Condition],
            Callable[[dict[str, Any]], tuple[str, str]] | None,
        ],
    ]
] = {
    "value": (
        {
            "key": _KEY,
            "op": _OP,
            "than": _Field(_scalar),
            "hysteresis": _Field(_not_negative, 0, required=False),
            "for_s": _FOR,
        },
        lambda f: Value(f["key"], f["op"], f["than"], float(f["hysteresis"]), _ms(f["for_s"])),
        _value_together,
    ),
    "rate": (
        {"key": _KEY, "per_s": _Field(_positive_duration), "op": _OP, "than": _Field(_number)},
        lambda f: Rate(f["key"], _ms(f["per_s"]), f["op"], f["than"]),
        None,
    ),
    "absent": (
        {
            "key": _Field(_text(0, DEFAULT_LIMITS.key_chars), "", required=False),
            "for_s": _Field(_positive_duration),
        },
        lambda f: Absent(_ms(f["for_s"]), f["key"]),
        None,
    ),
    "expression": (
        {"text": _Field(_expression), "for_s": _FOR},
        _holds,
        None,
    ),
    "changed": ({"key": _KEY}, lambda f: Changed(f["key"]), None),
    "presence": ({"online": _Field(_flag), "for_s": _FOR}, lambda f: Online(f["online"], _ms(f["for_s"])), None),
    "state": (
        {"path": _Field(_text(1, TEXT_MOST)), "equals": _Field(_scalar)},
        lambda f: Reported(tuple(f["path"].split(".")), f["equals"]),
        None,
    ),
    "between": (
        {
            "from": _Field(_time),
            "to": _Field(_time),
            "zone": _Field(_zone),
            "days": _Field(_days, DAYS, required=False),
        },
        _window,
        _between_together,
    ),
}
