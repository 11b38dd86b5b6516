"""What rules and alerts look like in requests and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from relevo.domain.alerts import NOTE_LIMIT
from relevo.domain.condition_tree import DURATION_MOST_S
from relevo.domain.devices import NAME_LIMIT
from relevo.domain.rules import ACTIONS_MOST, LATE_MOST_S, SCOPE_MOST

Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
Document = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
Condition = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "description": "One member: value, rate, absent … all, any, not."}),
]
Actions = Annotated[list[Document], Field(max_length=ACTIONS_MOST)]
Cooldown = Annotated[float, Field(ge=0, le=DURATION_MOST_S, description="Seconds before it fires again.")]
LateLimit = Annotated[
    float, Field(ge=1, le=LATE_MOST_S, description="What is learned of more seconds too late moves nothing.")
]
Severity = Literal["info", "warning", "critical"]
State = Literal["open", "acknowledged", "resolved", "cleared"]


class ScopeIn(BaseModel):
    """Devices that fit everything given; empty for all that the owner may see."""

    model_config = ConfigDict(extra="forbid")

    devices: list[str] = Field(default=[], max_length=SCOPE_MOST)
    tags: list[str] = Field(default=[], max_length=SCOPE_MOST)
    type: str = Field(default="", max_length=64)
    site: str = Field(default="", max_length=64)


class RuleIn(BaseModel):
    """A new rule."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    condition: Condition
    scope: ScopeIn = ScopeIn()
    actions: Actions = []
    clear_actions: Actions = []
    cooldown_s: Cooldown = 0
    late_limit_s: LateLimit = 60
    enabled: StrictBool = True
    owner: Annotated[str, Field(max_length=64, description="Somebody else; for administrators.")] | None = None


class RuleChange(BaseModel):
    """What is given changes. With the same condition nothing that is remembered is lost."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    condition: Condition = {}
    scope: ScopeIn = ScopeIn()
    actions: Actions = []
    clear_actions: Actions = []
    cooldown_s: Cooldown = 0
    late_limit_s: LateLimit = 60
    enabled: StrictBool = True
    owner: Annotated[str, Field(max_length=64, description="Somebody else; for administrators.")] = ""


class RuleOut(BaseModel):
    """A rule. ``true_of`` are the devices it is true of now; ``stopped`` says why it was switched off by itself."""

    id: str
    name: str
    owner: str
    by: str
    enabled: bool
    stopped: str
    condition: dict[str, Any]
    scope: dict[str, Any]
    actions: list[dict[str, Any]]
    clear_actions: list[dict[str, Any]]
    cooldown_s: float
    late_limit_s: float
    created: str | None
    true_of: list[str]
    last_fired: str | None


class RulePage(BaseModel):
    """Newest first."""

    items: list[RuleOut]
    next: str | None


class Parameter(BaseModel):
    """What a template wants to know; without ``default`` it has to be told."""

    name: str
    type: Literal["number", "string"]
    default: Any


class Template(BaseModel):
    """A rule that many people want."""

    name: str
    description: str
    parameters: list[Parameter]
    example: dict[str, Any]


class Templates(BaseModel):
    """All of them."""

    items: list[Template]


class FromTemplate(BaseModel):
    """A rule made of a template."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    scope: ScopeIn = ScopeIn()
    arguments: dict[str, float | str] = Field(default={}, max_length=16)
    enabled: StrictBool = True


class Span(BaseModel):
    """From when to when to try it, ISO 8601 or milliseconds; the last seven days when not said."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    begin: str = Field(default="", alias="from", max_length=40)
    end: str = Field(default="", alias="to", max_length=40)
    devices: list[str] = Field(default=[], max_length=SCOPE_MOST, description="Only these of its scope.")


class TryRule(Span):
    """A rule that is not kept, on stored history."""

    rule: RuleIn


class FiringOut(BaseModel):
    """It was true from ``begin`` to ``end`` (null: still at the end), beginning to be so at ``since``."""

    device: str
    since: str
    begin: str
    end: str | None
    values: dict[str, Any]


class BacktestOut(BaseModel):
    """What the rule would have done. Not ``whole``: there was too much, it was followed ``through``."""

    begin: str = Field(serialization_alias="from")
    end: str = Field(serialization_alias="to")
    through: str
    whole: bool
    events: int
    devices: int
    count: int
    firings: list[FiringOut]


class AlertOut(BaseModel):
    """An alert; ``by`` and ``note`` are of its last change."""

    id: str
    device: str
    state: State
    severity: Severity
    text: str
    rule: str
    name: str
    owner: str
    opened: str
    changed: str
    ended: str | None
    count: int
    values: dict[str, Any]
    by: str
    note: str


class AlertPage(BaseModel):
    """Newest first; ``open`` counts those of all your devices that nobody has acknowledged."""

    items: list[AlertOut]
    next: str | None
    open: int


class Note(BaseModel):
    """What to remember about it."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field(default="", max_length=NOTE_LIMIT)
