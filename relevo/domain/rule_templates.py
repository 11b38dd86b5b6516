"""Rules that many people want, ready but for their numbers. Each answers a :class:`Rule` that is sound as it is.

Thresholds are in the unit the device reports, durations in seconds. Each raises :class:`relevo.errors.Invalid` when
its arguments do not make a sound rule.
"""

from collections.abc import Callable
from typing import Any, Final

from relevo.domain.bulk import Selection
from relevo.domain.rules import Rule, compile_rule

EVERYTHING: Final = Selection()


def leak(rule_id: str, owner: str, scope: Selection, threshold: float = 2.5, for_s: float = 10) -> Rule:
    """Water flows at ``threshold`` L/min or more for ``for_s``, or the meter says itself that it leaks.

    One firing an episode and meter, which ends when the flow falls below; one that the meter told of, when it tells of
    its end. Contract hidrometro, section 6.
    """
    flow = {"value": {"key": "flowLmin", "op": ">=", "than": threshold, "for_s": for_s}}
    told = {"value": {"key": "vazamento_detectado", "op": "==", "than": True}}
    text = f"Water has been flowing at {threshold:g} L/min or more for {for_s:g} s"
    return _rule(rule_id, owner, "Leak", scope, {"any": [flow, told]}, "critical", text)


def freezer_door(rule_id: str, owner: str, scope: Selection, key: str = "door_open", for_s: float = 120) -> Rule:
    """The door of a freezer has been open for ``for_s``."""
    condition = {"value": {"key": key, "op": "==", "than": True, "for_s": for_s}}
    text = f"The door has been open for {for_s:g} s"
    return _rule(rule_id, owner, "Freezer door open", scope, condition, "warning", text)


def tank_level(
    rule_id: str, owner: str, scope: Selection, key: str = "level", below: float = 20, hysteresis: float = 5
) -> Rule:
    """A tank is below a level; it is well again when it has risen ``hysteresis`` above."""
    condition = {"value": {"key": key, "op": "<", "than": below, "hysteresis": hysteresis}}
    return _rule(rule_id, owner, "Tank low", scope, condition, "warning", f"The level is below {below:g}")


def device_silent(rule_id: str, owner: str, scope: Selection = EVERYTHING, for_s: float = 600) -> Rule:
    """Nothing has been heard of a device for ``for_s``."""
    condition = {"absent": {"for_s": for_s}}
    return _rule(rule_id, owner, "Device silent", scope, condition, "warning", f"Nothing heard for {for_s:g} s")


def water_at_night(
    rule_id: str,
    owner: str,
    zone: str,
    scope: Selection,
    begin: str = "00:00",
    end: str = "05:00",
    threshold: float = 0.1,
    for_s: float = 60,
) -> Rule:
    """Water flows above ``threshold`` L/min for ``for_s`` between ``begin`` and ``end``, local time of ``zone``."""
    condition = {
        "all": [
            {"between": {"from": begin, "to": end, "zone": zone}},
            {"value": {"key": "flowLmin", "op": ">", "than": threshold, "for_s": for_s}},
        ]
    }
    text = f"Water is used between {begin} and {end}"
    return _rule(rule_id, owner, "Water at night", scope, condition, "warning", text)


TEMPLATES: Final[dict[str, Callable[..., Rule]]] = {
    "leak": leak,
    "freezer_door": freezer_door,
    "tank_level": tank_level,
    "device_silent": device_silent,
    "water_at_night": water_at_night,
}


def _rule(
    rule_id: str, owner: str, name: str, scope: Selection, condition: dict[str, Any], severity: str, text: str
) -> Rule:
    actions = [{"alert": {"severity": severity, "text": text}}]
    rule = Rule(rule_id, name, owner, condition, scope, actions)
    compile_rule(rule)
    return rule
