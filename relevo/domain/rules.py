"""Rules: when something becomes true of a device, something is done.

Theory. A rule looks at each device in its scope by itself. It fires once when its condition becomes true and clears
once when it no longer is, for which it may have ``clear_actions``. Within ``cooldown_s`` of a firing it does not fire
again; when the condition still holds at the end of that time, it fires then. The condition is JSON
(:mod:`relevo.domain.condition_tree`), and so is what is done (:mod:`relevo.domain.rule_actions`).

What is learned of more than ``late_limit_s`` after it was so, such as the readings of a device that was without a
network for hours, is told to people and moves nothing: a relay that switches hours late is worse than none.
"""

from typing import Any, Final

import msgspec

from relevo.domain.bulk import Selection
from relevo.domain.condition_tree import REASON, Tree, check_duration, read_tree
from relevo.domain.conditions import Absent, Between
from relevo.domain.devices import ID_PATTERN, NAME_LIMIT
from relevo.domain.rule_actions import CLEAR_KINDS, KINDS, check_rule_action
from relevo.errors import FieldError, Invalid

ACTIONS_MOST: Final = 8
LATE_MOST_S: Final = 86_400
SCOPE_MOST: Final = 1_000


class Rule(msgspec.Struct):
    """One rule. An empty ``scope`` means every device its owner may see.

    ``cooldown_s`` (0 to 30 days) and ``late_limit_s`` (1 second to a day) in seconds, ``created_at`` in milliseconds
    UTC. ``by`` made it, and it acts with the rights of ``owner``. ``stopped`` says why it was switched off by itself.
    """

    id: str
    name: str
    owner: str
    condition: dict[str, Any]
    scope: Selection = Selection()
    actions: list[dict[str, Any]] = []
    cooldown_s: float = 0
    enabled: bool = True
    clear_actions: list[dict[str, Any]] = []
    late_limit_s: float = 60
    by: str = ""
    created_at: int = 0
    stopped: str = ""

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
    if not (_is_number(rule.late_limit_s) and 1 <= rule.late_limit_s <= LATE_MOST_S):
        wrong("late_limit_s", f"must be 1 to {LATE_MOST_S} seconds")
    for field, actions, kinds in (
        ("actions", rule.actions, KINDS),
        ("clear_actions", rule.clear_actions, CLEAR_KINDS),
    ):
        if len(actions) > ACTIONS_MOST:
            wrong(field, f"has {len(actions)} members, the limit is {ACTIONS_MOST}")
        for n, action in enumerate(actions[:ACTIONS_MOST]):
            found.extend(check_rule_action(action, f"{field}.{n}", kinds))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
