from typing import Any

import msgspec
import pytest

from relevo.domain.backtest import backtest
from relevo.domain.bulk import Selection
from relevo.domain.rule_actions import filled
from relevo.domain.rule_templates import TEMPLATES, device_silent, freezer_door, leak, tank_level, water_at_night
from relevo.domain.rules import Rule, compile_rule, read_rule
from relevo.errors import Invalid
from tests.domain.rule_samples import device, ms, says

FINE: dict[str, Any] = {"changed": {"key": "t"}}
HOT: dict[str, Any] = {"key": "t", "op": ">", "than": 8}
NIGHT: dict[str, Any] = {"from": "22:00", "to": "06:00", "zone": "America/Lima"}


def nested(depth: int) -> dict[str, Any]:
    return FINE if depth == 1 else {"not": nested(depth - 1)}


def whole(**changes: Any) -> dict[str, Any]:
    return {"id": "r", "name": "Rule", "owner": "ana", "condition": FINE} | changes


@pytest.mark.parametrize(
    ("condition", "field", "says"),
    [
        ([], "condition", "one of value, rate"),
        ({}, "condition", "one of value, rate"),
        ({"value": HOT, "changed": {}}, "condition", "one of"),
        ({"vlaue": HOT}, "condition", "'vlaue'"),
        ({"value": 3}, "condition.value", "object"),
        ({"value": {"key": "t", "op": ">"}}, "condition.value.than", "missing"),
        ({"value": HOT | {"more": 1}}, "condition.value.more", "unknown"),
        ({"value": HOT | {"key": ""}}, "condition.value.key", "1 to 64"),
        ({"value": HOT | {"key": "k" * 65}}, "condition.value.key", "1 to 64"),
        ({"value": HOT | {"op": "~"}}, "condition.value.op", "> >="),
        ({"value": HOT | {"than": float("nan")}}, "condition.value.than", "finite"),
        ({"value": HOT | {"than": 2**63}}, "condition.value.than", "64 bits"),
        ({"value": HOT | {"than": "8"}}, "condition.value.than", "number to go with >"),
        ({"value": HOT | {"than": True}}, "condition.value.than", "number to go with >"),
        ({"value": HOT | {"hysteresis": -1}}, "condition.value.hysteresis", "negative"),
        ({"value": HOT | {"op": "==", "hysteresis": 1}}, "condition.value.hysteresis", "needs"),
        ({"value": HOT | {"for_s": 2_592_001}}, "condition.value.for_s", "2592000"),
        ({"value": HOT | {"for_s": True}}, "condition.value.for_s", "number"),
        ({"rate": HOT}, "condition.rate.per_s", "missing"),
        ({"rate": HOT | {"per_s": 0}}, "condition.rate.per_s", "0.001"),
        ({"rate": HOT | {"per_s": 1, "than": "x"}}, "condition.rate.than", "number"),
        ({"absent": {}}, "condition.absent.for_s", "missing"),
        ({"absent": {"for_s": 0}}, "condition.absent.for_s", "0.001"),
        ({"presence": {"online": 1}}, "condition.presence.online", "true or false"),
        ({"state": {"path": "a", "equals": None}}, "condition.state.equals", "number, a boolean or a text"),
        ({"state": {"path": "a", "equals": "x" * 257}}, "condition.state.equals", "256"),
        ({"between": NIGHT | {"from": "7:00"}}, "condition.between.from", "00:00"),
        ({"between": NIGHT | {"from": "24:00"}}, "condition.between.from", "23:59"),
        ({"between": NIGHT | {"to": "22:00"}}, "condition.between.to", "differ"),
        ({"between": NIGHT | {"zone": "Mars/Base"}}, "condition.between.zone", "time zone"),
        ({"between": NIGHT | {"zone": "../../etc/passwd"}}, "condition.between.zone", "time zone"),
        ({"between": NIGHT | {"days": []}}, "condition.between.days", "mon"),
        ({"between": NIGHT | {"days": ["mon", "mon"]}}, "condition.between.days", "once"),
        ({"all": []}, "condition.all", "at least one"),
        ({"any": [FINE, {"not": {"value": HOT | {"than": None}}}]}, "condition.any.1.not.value.than", "number"),
        (nested(7), "condition.not.not.not.not.not.not", "deeper than 6"),
        ({"any": [FINE] * 32}, "condition", "32"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_limit(condition: Any, field: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_rule(Rule("r", "Rule", "ana", condition))
    assert caught.value.reason == "rule_invalid"
    assert [error.field for error in caught.value.errors] == [field]
    assert caught.value.errors[0].message.startswith(field)
    assert says in caught.value.errors[0].message


def test_the_limits_themselves_are_fine() -> None:
    compile_rule(Rule("r", "Rule", "ana", nested(6), cooldown_s=2_592_000))
    compile_rule(Rule("r", "Rule", "ana", {"any": [FINE] * 31}))


def test_all_that_is_wrong_is_told_at_once() -> None:
    bad = {"all": [{"value": {"op": "~"}}, {"absent": {"for_s": -1}}]}
    with pytest.raises(Invalid) as caught:
        compile_rule(Rule("no id", "", "ana", bad, cooldown_s=-1))
    assert {error.field for error in caught.value.errors} == {
        "condition.all.0.value.key",
        "condition.all.0.value.op",
        "condition.all.0.value.than",
        "condition.all.1.absent.for_s",
        "id",
        "name",
        "cooldown_s",
    }


@pytest.mark.parametrize(
    ("action", "field"),
    [
        ({}, "actions.0"),
        ({"shout": {}}, "actions.0"),
        ({"alert": []}, "actions.0.alert"),
        ({"alert": {"severity": "warning"}}, "actions.0.alert.text"),
        ({"alert": {"severity": "bad", "text": "x"}}, "actions.0.alert.severity"),
        ({"command": {"params": {}}}, "actions.0.command.name"),
        ({"command": {"name": "on", "device": "no id"}}, "actions.0.command.device"),
        ({"command": {"name": "on", "ttl": 0}}, "actions.0.command.ttl"),
        ({"desired": {}}, "actions.0.desired.values"),
        ({"desired": {"values": {"": 1}}}, "actions.0.desired.values.''"),
        ({"desired": {"values": {"a": 1}, "selection": {}}}, "actions.0.desired.selection"),
        ({"alert": {"severity": "info", "text": "x", "key": ""}}, "actions.0.alert.key"),
        ({"alert": {"severity": "info", "text": "x", "auto_clear": 1}}, "actions.0.alert.auto_clear"),
        ({"alert": {"severity": "info", "text": "x", "colour": 1}}, "actions.0.alert.colour"),
        ({"alert": {"severity": "info", "text": "x", "notify": "no"}}, "actions.0.alert.notify"),
        ({"notify": {}}, "actions.0.notify.text"),
        ({"webhook": {}}, "actions.0.webhook.webhook"),
        ({"webhook": {"webhook": "w", "body": "x"}}, "actions.0.webhook.body"),
        ({"notify": {"text": "x", "to": "ana"}}, "actions.0.notify.to"),
        ({"notify": {"text": "x", "severity": "loud"}}, "actions.0.notify.severity"),
        ({"notify": {"text": "x", "title": ""}}, "actions.0.notify.title"),
        ({"publish": {"payload": "x"}}, "actions.0.publish.topic"),
        ({"publish": {"topic": "a/#"}}, "actions.0.publish.topic"),
        ({"publish": {"topic": "a", "qos": 3}}, "actions.0.publish.qos"),
        ({"publish": {"topic": "a", "payload": "x" * 5_000}}, "actions.0.publish"),
    ],
)
def test_actions_are_looked_at_for_their_shape(action: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_rule(whole(actions=[action]))
    assert [error.field for error in caught.value.errors] == [field]


def test_what_ends_opens_no_alert() -> None:
    alert = {"alert": {"severity": "info", "text": "x"}}
    with pytest.raises(Invalid) as caught:
        read_rule(whole(clear_actions=[alert]))
    assert [error.field for error in caught.value.errors] == ["clear_actions.0"]


def test_places_in_texts_are_filled_where_something_is_known() -> None:
    about = {"device": "fridge", "t": 8.123456789, "open": True}
    assert filled("{device}: {t} degrees, open {open}, {nothing} {", about) == (
        "fridge: 8.12346 degrees, open true, {nothing} {"
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"cooldown": 3}, "cooldown"), ({"enabled": "yes"}, "enabled"), ({"scope": {"tags": 3}}, "scope.tags")],
)
def test_a_rule_out_of_json_names_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_rule(whole(**changes))
    assert [error.field for error in caught.value.errors] == [field]


def test_a_rule_survives_json() -> None:
    one = leak("leak", "ana", Selection(site="home"))
    assert read_rule(msgspec.json.decode(msgspec.json.encode(one))) == one
    assert one.origin == "rule:leak"


def flows(*pairs: tuple[float, float]) -> list[Any]:
    return [says(at, flowLmin=flow) for at, flow in pairs]


def firings(rule: Rule, events: list[Any], end: float) -> list[tuple[float, float | None]]:
    found = backtest(rule, events, [device()], ms(0), ms(end))
    return [((one.begin - ms(0)) / 1000, one.end and (one.end - ms(0)) / 1000) for one in found]


def test_leak_one_an_episode_at_or_above_the_threshold() -> None:
    one = leak("leak", "ana", Selection())
    events = flows((1, 2.5), (6, 2.5), (11, 3), (16, 9), (21, 2.4), (22, 3), (25, 0))
    assert firings(one, events, 99) == [(11, 21)]
    told = [says(1, flowLmin=0.0, vazamento_detectado=True), says(2, flowLmin=0.0, vazamento_detectado=False)]
    assert firings(one, told, 99) == [(1, 2)]


def test_freezer_door() -> None:
    events = [says(1, door_open=True), says(100, door_open=1), says(150, door_open=False), says(160, door_open=True)]
    assert firings(freezer_door("f", "ana", Selection()), events, 200) == [(121, 150)]


def test_tank_level() -> None:
    events = [says(at, level=level) for at, level in ((1, 30), (2, 19), (3, 24), (4, 25), (5, 24))]
    assert firings(tank_level("t", "ana", Selection()), events, 9) == [(2, 4)]


def test_device_silent() -> None:
    assert firings(device_silent("s", "ana"), [says(1, x=1)], 700) == [(601, None)]


def test_water_at_night() -> None:
    # 19:00 in Lima is the start, 00:00 comes five hours later.
    one = water_at_night("n", "ana", "America/Lima", Selection())
    assert firings(one, flows((10, 1), (200, 0), (5 * 3600 + 10, 1), (5 * 3600 + 100, 0)), 86_400) == [(18_070, 18_100)]


def test_every_template_is_listed() -> None:
    assert set(TEMPLATES) == {"leak", "freezer_door", "tank_level", "device_silent", "water_at_night"}
    with pytest.raises(Invalid):
        leak("leak", "ana", Selection(), threshold=float("inf"))
