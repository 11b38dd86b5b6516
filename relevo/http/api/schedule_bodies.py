"""What schedules look like in requests and answers."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from relevo.domain.schedule_limits import JITTER_MOST_S, LATE_LIMIT_MOST_S, NAME_LIMIT
from relevo.domain.timings import Timing


def _schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a planner's type, without references."""
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="{name}")
    found: dict[str, Any] = _inlined(schema, parts)
    return found


def _inlined(node: Any, parts: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _inlined(parts[node["$ref"]], parts)
        return {name: _inlined(one, parts) for name, one in node.items() if name != "discriminator"}
    if isinstance(node, list):
        return [_inlined(one, parts) for one in node]
    return node


def _timing() -> dict[str, Any]:
    schema = _schema(Timing)
    for kind in schema["anyOf"]:
        for name in ("at", "anchor"):
            if name in kind["properties"]:
                kind["properties"][name] = _INSTANT | {"default": 0} if name == "anchor" else _INSTANT
    return schema


_INSTANT: dict[str, Any] = {
    "anyOf": [{"type": "string", "maxLength": 40}, {"type": "integer"}],
    "description": "ISO 8601, with an offset or else local time of the zone; or milliseconds UTC.",
}
_WHOM: dict[str, Any] = {
    "device": {"type": "string"},
    "selection": {
        "type": "object",
        "properties": {
            "devices": {"type": "array", "items": {"type": "string"}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "type": {"type": "string"},
            "site": {"type": "string"},
        },
    },
}
_COMMAND: dict[str, Any] = {
    "type": "object",
    "properties": _WHOM
    | {"name": {"type": "string"}, "params": {"type": "object"}, "ttl": {"type": ["number", "null"]}},
    "required": ["name"],
}
_DESIRED: dict[str, Any] = {
    "type": "object",
    "properties": _WHOM | {"values": {"type": "object"}},
    "required": ["values"],
}
_ACTION: dict[str, Any] = {"type": "object", "properties": {"command": _COMMAND, "desired": _DESIRED}}

TimingIn = Annotated[dict[str, Any], WithJsonSchema(_timing())]
ActionIn = Annotated[dict[str, Any], WithJsonSchema(_ACTION)]
Policy = Literal["skip", "run_once"]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
Zone = Annotated[str, Field(min_length=1, max_length=64, description="IANA name, such as Europe/Madrid.")]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
LateLimit = Annotated[
    int, Field(ge=1, le=LATE_LIMIT_MOST_S, description="Seconds after its moment in which a run may still start.")
]
Jitter = Annotated[
    int, Field(ge=0, le=JITTER_MOST_S, description="Seconds over which the devices of a run are spread.")
]
Instant = Annotated[str | int, WithJsonSchema(_INSTANT)]
Owner = Annotated[str, Field(max_length=64, description="Somebody else; for administrators.")]


class ScheduleIn(BaseModel):
    """A new schedule."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    timing: TimingIn
    action: ActionIn = {}
    end_action: ActionIn = {}
    zone: Zone | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    missed: Policy = "skip"
    late_limit_s: LateLimit = 60
    jitter_s: Jitter = 0
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    enabled: StrictBool = True
    owner: Owner | None = None


class ScheduleChange(BaseModel):
    """What is given changes. A timing that is given, also the same, is counted from now on."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    timing: TimingIn = {}
    action: ActionIn = {}
    end_action: ActionIn = {}
    zone: Zone = ""
    lat: Latitude | None = None
    lon: Longitude | None = None
    missed: Policy = "skip"
    late_limit_s: LateLimit = 60
    jitter_s: Jitter = 0
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    enabled: StrictBool = True
    owner: Owner = ""


class LastRun(BaseModel):
    """Through when it is done with, when its last run ended, how many commands that asked for, what failed."""

    planned: str
    at: str | None
    asked: int
    note: str


class ScheduleOut(BaseModel):
    """A schedule. ``note`` says why ``next`` is far away or missing."""

    id: str
    name: str
    owner: str
    by: str
    enabled: bool
    timing: dict[str, Any]
    action: dict[str, Any]
    end_action: dict[str, Any]
    zone: str
    lat: float | None
    lon: float | None
    missed: Policy
    late_limit_s: int
    jitter_s: int
    starts_at: str | None
    ends_at: str | None
    created: str
    next: str | None
    note: str
    last_run: LastRun | None


class SchedulePage(BaseModel):
    """Newest first."""

    items: list[ScheduleOut]
    next: str | None


class StepOut(BaseModel):
    """One thing that a run does: at the ``start`` or ``end`` of a window, or simply to ``run``."""

    edge: Literal["run", "start", "end"]
    action: dict[str, Any]


class Coming(BaseModel):
    """A planned run, in UTC and in local time of the zone."""

    at: str
    local: str
    steps: list[StepOut]


class Preview(BaseModel):
    """The next runs, whose clocks they follow, and why there are fewer or later ones than one might expect."""

    items: list[Coming]
    zone: str
    note: str


class Ran(BaseModel):
    """The command asked for by device, and the devices for which none could be, with why."""

    asked: dict[str, str]
    refused: dict[str, str]
