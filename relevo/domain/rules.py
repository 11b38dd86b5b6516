"""Rules: when something becomes true of a device, something is done.

Theory. A rule looks at each device in its scope by itself. It fires once when its condition becomes true and clears
once when it no longer is. Within ``cooldown_s`` of a firing it does not fire again; when the condition still holds at
the end of that time, it fires then. The condition is JSON (:mod:`relevo.domain.condition_tree`), and what is done
belongs to others: here the actions are looked at for their shape alone.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from relevo.domain.bulk import Selection
from relevo.domain.condition_tree import REASON, Tree, check_duration, read_tree
from relevo.domain.conditions import Absent, Between
from relevo.domain.devices import ID_PATTERN, NAME_LIMIT
from relevo.errors import FieldError, Invalid

SEVERITIES: Final = ("info", "warning", "critical")
ACTIONS_MOST: Final = 8
ACTION_BYTES: Final = 4_096
TEXT_LIMIT: Final = 1_000
SCOPE_MOST: Final = 1_000


class Rule(msgspec.Struct):
    """One rule. An empty ``scope`` means every device its owner may see; ``cooldown_s`` in seconds, 0 to 30 days."""

    id: str
    name: str
    owner: str
    condition: dict[str, Any]
    scope: Selection = Selection()
    actions: list[dict[str, Any]] = []
    cooldown_s: float = 0
    enabled: bool = True

    @property
    def origin(self) -> str:
        return f"rule:{self.id}"


class Compiled(msgspec.Struct, frozen=True, eq=False):
    """A rule made ready once. ``condition`` identifies what is remembered: another condition starts anew."""

    rule: Rule
    tree: Tree
    condition: str
    cooldown_ms: int

    @property
    def from_start(self) -> bool:
        """Whether time alone can decide it, so that a device counts before it has said anything."""
        return any(isinstance(one, Absent | Between) for one in self.tree.conditions)


def compile_rule(rule: Rule) -> Compiled:
    """The rule made ready. Raises :class:`Invalid` (``rule_invalid``) with a :class:`FieldError` for all that is wrong.

    Fields are named by their place in the rule, such as ``condition.all.1.value.than`` or ``actions.0.alert.text``.
    """
    tree, errors = read_tree(rule.condition)
    errors += _wrong_around(rule)
    if errors:
        raise Invalid(REASON, errors[0].message, errors)
    return Compiled(rule, tree, condition_text(rule.condition), round(rule.cooldown_s * 1000))


def read_rule(raw: Any) -> Rule:
    """A rule out of JSON. Raises :class:`Invalid` (``rule_invalid``) as :func:`compile_rule` does."""
    unknown = sorted(set(raw) - set(Rule.__struct_fields__)) if isinstance(raw, dict) else []
    if unknown:
        field = str(unknown[0])[:40]
        message = f"{field} is unknown; may be {', '.join(Rule.__struct_fields__)}"
        raise Invalid(REASON, message, [FieldError(field, message, REASON)])
    try:
        rule = msgspec.convert(raw, Rule)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$.")
        field = place.rstrip("`")
        message = f"{field} {text}".strip()
        raise Invalid(REASON, message, [FieldError(field, message, REASON)]) from None
    compile_rule(rule)
    return rule


def condition_text(condition: Any) -> str:
    """The same text for the same condition, whatever the order of its members."""
    return msgspec.json.encode(condition, order="deterministic").decode()


def _wrong_around(rule: Rule) -> list[FieldError]:
    found: list[FieldError] = []

    def wrong(field: str, message: str) -> None:
        found.append(FieldError(field, f"{field} {message}", REASON))

    if not ID_PATTERN.fullmatch(rule.id):
        wrong("id", "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")
    if not 1 <= len(rule.name.strip()) <= NAME_LIMIT or len(rule.name) > NAME_LIMIT:
        wrong("name", f"must have 1 to {NAME_LIMIT} characters")
    if problem := check_duration(rule.cooldown_s):
        wrong("cooldown_s", problem)
    for name in ("devices", "tags"):
        if len(getattr(rule.scope, name)) > SCOPE_MOST:
            wrong(f"scope.{name}", f"has {len(getattr(rule.scope, name))} members, the limit is {SCOPE_MOST}")
    if len(rule.actions) > ACTIONS_MOST:
        wrong("actions", f"has {len(rule.actions)} members, the limit is {ACTIONS_MOST}")
    for n, action in enumerate(rule.actions[:ACTIONS_MOST]):
        _check_action(action, f"actions.{n}", wrong)
    return found


def _check_action(action: dict[str, Any], field: str, wrong: Callable[[str, str], None]) -> None:
    if not isinstance(action, dict) or len(action) != 1 or (kind := next(iter(action))) not in _ACTIONS:
        wrong(field, f"must be an object with one of {', '.join(_ACTIONS)}")
        return
    body, place = action[kind], f"{field}.{kind}"
    if not isinstance(body, dict):
        wrong(place, "must be an object")
        return
    for name in _ACTIONS[kind]:
        if name not in body:
            wrong(f"{place}.{name}", "is missing")
        elif not isinstance(body[name], str) or not 1 <= len(body[name]) <= TEXT_LIMIT:
            wrong(f"{place}.{name}", f"must be a text of 1 to {TEXT_LIMIT} characters")
    if kind == "alert" and isinstance(body.get("severity"), str) and body["severity"] not in SEVERITIES:
        wrong(f"{place}.severity", f"must be one of {' '.join(SEVERITIES)}")
    if kind == "desired" and not body:
        wrong(place, "must name what is desired")
    try:
        size = len(msgspec.json.encode(body))
    except (TypeError, UnicodeEncodeError, ValueError):
        wrong(place, "cannot be written as JSON")
    else:
        if size > ACTION_BYTES:
            wrong(place, f"has {size} bytes as JSON, the limit is {ACTION_BYTES}")


# The texts that each kind of action cannot do without.
_ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "command": ("name",),
    "desired": (),
    "alert": ("severity", "text"),
    "notify": ("channel",),
    "webhook": ("url",),
    "publish": ("topic",),
}
