"""What boards, walls and pictures look like in requests and answers."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from relevo.domain.board_widgets import TYPES
from relevo.domain.boards import COLUMNS, NAME_LIMIT, SHARED_MOST, WALL_DAYS_MOST, WIDGETS_MOST

Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
EXAMPLE: Final[dict[str, Any]] = {
    "type": "gauge",
    "title": "Tank",
    "x": 0,
    "y": 0,
    "w": 3,
    "h": 2,
    "device": "tank-1",
    "key": "level",
    "options": {"min": 0, "max": 100, "warn": 20, "critical": 10, "below": True, "unit": "%"},
}
Widget = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "description": "What its options may be follows from its type, see docs/dashboards.md.",
            "required": ["type", "x", "y", "w", "h"],
            "properties": {
                "id": {"type": "string", "maxLength": 64},
                "type": {"type": "string", "enum": list(TYPES)},
                "title": {"type": "string", "maxLength": 128},
                "x": {"type": "integer", "minimum": 0, "maximum": COLUMNS - 1},
                "y": {"type": "integer", "minimum": 0, "maximum": 999},
                "w": {"type": "integer", "minimum": 1, "maximum": COLUMNS},
                "h": {"type": "integer", "minimum": 1, "maximum": 50},
                "device": {"type": "string", "maxLength": 64},
                "key": {"type": "string", "maxLength": 256},
                "options": {"type": "object"},
            },
            "examples": [EXAMPLE],
        }
    ),
]
Widgets = Annotated[list[Widget], Field(max_length=WIDGETS_MOST)]
Version = Annotated[int, Field(strict=True, ge=1, le=2**53, description="The one that this change is of.")]


class ShareIn(BaseModel):
    """With whom, and how far."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, Field(min_length=1, max_length=128)]
    right: Literal["view", "edit"] = "view"


Shares = Annotated[list[ShareIn], Field(max_length=SHARED_MOST)]


class BoardIn(BaseModel):
    """A new dashboard."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Well", "widgets": [EXAMPLE], "shared": []}]}
    )

    name: Name
    widgets: Widgets = []
    shared: Shares = []


class BoardPut(BaseModel):
    """The whole dashboard; without ``shared`` that stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"version": 3, "name": "Well", "widgets": [EXAMPLE]}]}
    )

    version: Version
    name: Name
    widgets: Widgets
    shared: Shares | None = None


class BoardPatch(BaseModel):
    """What is given changes; ``widgets`` need the ``version`` that they are made of."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Well and tank"}]})

    version: Version | None = None
    name: Name | None = None
    widgets: Widgets | None = None
    shared: Shares | None = None


class WallOut(BaseModel):
    """A wall without its token."""

    id: str
    name: str
    created_at: str | None
    expires_at: str | None


class WallCreated(WallOut):
    """The only answer that ever holds the token; ``url`` is the page to open on the wall."""

    token: str
    url: str


class WallPage(BaseModel):
    items: list[WallOut]
    next: str | None


class BoardOut(BaseModel):
    """A dashboard. Each widget also says whether it is ``visible`` to who asks, ``missing`` because its devices are
    removed, and which are ``hidden`` or ``gone``."""

    id: str
    contract: Literal["native", "thingsnxt"]
    name: str
    owner: str
    right: Literal["own", "edit", "view"]
    version: int
    columns: int
    widget_count: int
    widgets: list[dict[str, Any]]
    shared: list[ShareIn]
    walls: list[WallOut]
    created_at: str | None
    changed_at: str | None


class BoardPage(BaseModel):
    """Oldest first, those of the thingsnxt app after the others."""

    items: list[BoardOut]
    next: str | None


class FromDevice(BaseModel):
    """``template`` false makes it by what the device can do, whatever is saved for its type."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    template: StrictBool = True


class TemplateIn(BaseModel):
    """The dashboard that becomes the template, and the device on it whose place others take; none where there is but
    one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dashboard": "6f1c", "name": "Pump"}]})

    dashboard: Annotated[str, Field(min_length=1, max_length=64)]
    device: Annotated[str, Field(max_length=64)] = ""
    name: Name | None = None


class TemplateOut(BaseModel):
    """``widgets`` with ``$device`` for the device."""

    type: str
    name: str
    widgets: list[dict[str, Any]]
    by: str
    changed_at: str | None


class Templates(BaseModel):
    """By type of device. A device of any other type gets a dashboard by what it can do."""

    items: list[TemplateOut]


class WallIn(BaseModel):
    """``days`` until it ends by itself; without them it stays until it is revoked."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Kitchen", "days": 365}]})

    name: Name
    days: Annotated[int, Field(strict=True, ge=1, le=WALL_DAYS_MOST)] | None = None


class PictureOut(BaseModel):
    """``width`` and ``height`` in pixels, ``size`` in bytes."""

    id: str
    type: str
    size: int
    width: int
    height: int
    created_at: str | None
    url: str


class PicturePage(BaseModel):
    items: list[PictureOut]
    next: str | None


class WallDevice(BaseModel):
    """A device on a wall: of its values those alone that a widget shows."""

    id: str
    name: str
    online: bool
    last_seen: str | None
    values: dict[str, Any]


class WallAlert(BaseModel):
    device: str
    severity: str
    state: str
    text: str
    opened: str | None


class WallDocument(BaseModel):
    """What hangs on a wall. Devices that the dashboard's owner may not view any more are not in it, and widgets of
    theirs say ``visible`` false and nothing else."""

    name: str
    version: int
    columns: int
    widgets: list[dict[str, Any]]
    devices: list[WallDevice]
    alerts: list[WallAlert]
    expires_at: str | None
