"""What webhooks look like in requests and answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.webhooks import HEADERS_MOST, NAME_LIMIT, NAMED_MOST, URL_LIMIT

Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
Url = Annotated[str, Field(min_length=1, max_length=URL_LIMIT, description="Where to: `https://…` or `http://…`.")]
Kinds = Annotated[
    list[str],
    Field(max_length=32, description="Kinds of the live stream; none of them leaves what rules address to it."),
]
Devices = Annotated[list[str], Field(max_length=NAMED_MOST, description="Only these devices.")]
Types = Annotated[list[str], Field(max_length=NAMED_MOST, description="Only devices of these types.")]
Tags = Annotated[list[str], Field(max_length=NAMED_MOST, description="Only devices with any of these tags.")]
Format = Literal["standard", "thingsnxt"]
Headers = Annotated[
    dict[str, str], Field(max_length=HEADERS_MOST, description="Sent along; no place for secrets, they are shown.")
]
AllowPrivate = Annotated[bool, Field(description="May reach private addresses; for administrators to say.")]
Owner = Annotated[str, Field(max_length=64, description="Somebody else; for administrators.")]


class WebhookIn(BaseModel):
    """A new webhook. It begins with the next event."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    url: Url
    kinds: Kinds = []
    devices: Devices = []
    types: Types = []
    tags: Tags = []
    format: Format = "standard"
    headers: Headers = {}
    enabled: bool = True
    allow_private: AllowPrivate = False
    owner: Owner | None = None


class WebhookChange(BaseModel):
    """What is given changes. Switched on again it goes on where it stopped, or with ``from_now`` at the present."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    url: Url = ""
    kinds: Kinds = []
    devices: Devices = []
    types: Types = []
    tags: Tags = []
    format: Format = "standard"
    headers: Headers = {}
    enabled: bool = True
    allow_private: AllowPrivate = False
    owner: Owner = ""
    from_now: Annotated[
        bool, Field(description="With `enabled: true` of one that is off: leave out what happened meanwhile.")
    ] = False


class WebhookOut(BaseModel):
    """A webhook and how it is doing. ``position`` is the event through which everything is settled."""

    id: str
    name: str
    url: str
    owner: str
    by: str
    secret: str
    former_secret_until: str | None
    kinds: list[str]
    devices: list[str]
    types: list[str]
    tags: list[str]
    format: Format
    headers: dict[str, str]
    enabled: bool
    disabled_reason: str
    allow_private: bool
    created: str
    position: int
    behind: int
    waiting: int
    dead_letters: int
    failing_since: str | None


class WebhookPage(BaseModel):
    """Newest first."""

    items: list[WebhookOut]
    next: str | None


class DeliveryOut(BaseModel):
    """One delivery. ``status`` is the last answer's, null when nothing was answered; ``answer`` its first kilobyte."""

    seq: int
    message_id: str
    device: str | None
    kind: str
    state: Literal["waiting", "dead", "delivered"]
    attempts: int
    taken: str
    last: str | None
    next: str | None
    status: int | None
    error: str
    answer: str


class DeliveryPage(BaseModel):
    """Newest first."""

    items: list[DeliveryOut]
    next: str | None


class Tried(BaseModel):
    """What came of one attempt."""

    delivered: bool
    status: int | None
    error: str
    answer: str


class Replayed(BaseModel):
    """How many dead letters are tried again, and how many are left for want of room."""

    replayed: int
    left: int
