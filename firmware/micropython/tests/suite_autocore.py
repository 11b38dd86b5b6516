"""The words of contract autocore, with its hardware remembered."""

import json

import autocore
import autocore_join
import autocore_words
from doubles import App, raises
from late import late


class Client:
    """Remembers what was said."""

    up = True

    def __init__(self):
        self.said = []

    def publish(self, topic, payload, qos, retain):
        self.said.append((topic, json.loads(payload), qos, retain))
        return 1


def _contract():
    app = App()
    app.contract = autocore.Contract(app)
    autocore_join.begin(app.contract, {"relays": [2, 4, 5], "low": True, "inputs": [34]})
    app.contract.client = Client()
    return app, app.contract


ROOT = "autocore/devices/550e8400-e29b-41d4-a716-0a1b2c"


def _say(contract, payload):
    contract.heard(ROOT + "/command", payload if isinstance(payload, bytes) else payload.encode())
    topic, body, qos, retain = contract.client.said.pop()
    assert (topic, qos, retain) == (ROOT + "/response", 1, False)
    return body


def test_who_a_board_is_follows_from_its_address():
    app, _ = _contract()
    assert app.get("device_uuid") == "550e8400-e29b-41d4-a716-0a1b2c"
    assert app.get("device_name") == "ESP32 Relay 0a1b2c"
    assert app.hal.levels == {2: False, 4: False, 5: False}


def test_what_is_wrong_with_a_command_moves_nothing():
    app, contract = _contract()
    for payload, error in (
        ("{", "invalid_json"),
        ("[1]", "invalid_json"),
        ("", "invalid_json"),
        ("nan", "invalid_json"),
        ('{"type":"relay","channel":1,"state":true', "invalid_json"),
        ('{"type":"relay","channel":1,"state":', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ('{"type":"blink"}', "unknown_type"),
        ('{"type":["relay"]}', "unknown_type"),
        ("{}", "unknown_type"),
        ('{"type":"update"}', "unknown_type"),
        ('{"type":"relay","channel":17,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":0,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":-1,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":1.0,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":true,"state":true}', "invalid_channel"),
        ('{"type":"relay","channel":"1","state":true}', "invalid_channel"),
        ('{"type":"relay","state":true}', "invalid_channel"),
        ('{"type":"relay","channel":1,"state":1}', "invalid_state"),
        ('{"type":"relay","channel":1,"state":"on"}', "invalid_state"),
        ('{"type":"relay","channel":1,"state":null}', "invalid_state"),
        ('{"type":"relay","channel":1}', "invalid_state"),
        ('{"type":"relay","channel":1,"state":true,"pulse_ms":-1}', "invalid_state"),
        ('{"type":"relay","channel":1,"state":true,"pulse_ms":true}', "invalid_state"),
        ('{"type":"relay","channel":1,"state":true,"momentary":1}', "invalid_state"),
    ):
        said = _say(contract, payload)
        assert (said["type"], said["error"]) == ("error", error), payload
    contract.heard("autocore/devices/other/command", b'{"type":"relay","channel":1,"state":true}')
    assert contract.client.said == []
    assert app.hal.levels == {2: False, 4: False, 5: False}
    assert list(contract.relays.states) == [0] * 16


def test_commands_are_answered_in_the_contracts_words():
    app, contract = _contract()
    app.clock.now = 734512000
    assert _say(contract, '{"type":"ping"}') == {"type": "pong", "timestamp": 734512}
    said = _say(contract, '{"type":"relay","channel":3,"state":true,"request_id":"r","more":1}')
    assert said == {"type": "relay_response", "channel": 3, "state": True, "request_id": "r"}
    assert app.hal.levels[5] is True
    said = _say(contract, '{"type":"status","request_id":5}')
    assert (said["type"], said["request_id"], said["data"]["relays"][2]) == ("status", 5, 1)


def test_the_same_command_again_gets_the_same_answer_and_moves_nothing():
    app, contract = _contract()
    on = '{"type":"relay","channel":1,"state":true,"request_id":"r1"}'
    first = _say(contract, on)
    _say(contract, '{"type":"relay","channel":1,"state":false}')
    assert _say(contract, on) == first
    assert app.hal.levels[2] is False
    # And so after a reset.
    _, again = _contract()
    assert _say(again, on) == first
    assert list(again.relays.states) == [0] * 16
    # What was refused is judged anew.
    assert _say(again, '{"type":"relay","channel":99,"state":true,"request_id":"r2"}')["error"] == "invalid_channel"
    assert _say(again, '{"type":"relay","channel":2,"state":true,"request_id":"r2"}')["state"] is True


def test_what_cannot_be_noted_is_not_carried_out():
    app, contract = _contract()
    import os

    os.mkdir("done")
    said = _say(contract, '{"type":"relay","channel":1,"state":true,"request_id":"r1"}')
    assert (said["type"], said["error"], said["request_id"]) == ("error", "flash", "r1")
    assert app.hal.levels[2] is False


def test_an_update_is_looked_for_when_something_can():
    app, contract = _contract()
    looked = []
    app.due = 1
    app.later = looked.append
    said = _say(contract, '{"type":"update","release":"relay-1.4.0","request_id":"u"}')
    assert said == {"type": "update", "release": "relay-1.4.0", "request_id": "u"}
    assert _say(contract, '{"type":"update","release":"relay-1.4.0","request_id":"u"}') == said
    assert len(looked) == 1


def test_heartbeats_hold_a_momentary_relay():
    app, contract = _contract()
    _say(contract, '{"type":"relay","channel":2,"state":true,"momentary":true}')
    app.clock.now = 900
    for payload in (b'{"channel":2}', b"{", b"[]", b'{"channel":"2"}', b'{"channel":99}', b"5"):
        contract.heard(ROOT + "/relays/heartbeat", payload)
    app.clock.now = 1500
    contract.tick()
    assert app.hal.levels[4] is True
    app.clock.now = 1900
    contract.tick()
    assert app.hal.levels[4] is False
    # It went off by itself: a status says so.
    assert contract.client.said[-1][0] == ROOT + "/status"


def test_broker_settings_are_taken_in_both_spellings_and_nothing_else():
    found = autocore_join.broker_settings({"broker_host": "b", "broker_port": 1884, "username": None, "password": None})
    assert (found["mqtt_broker"], found["mqtt_port"], found["mqtt_topic_prefix"]) == ("b", 1884, "autocore")
    for bad in ([], "x", {}, {"port": 1883}, None):
        raises(ValueError, autocore_join.broker_settings, bad)
    app, _ = _contract()
    raises(ValueError, lambda: app.put(**autocore_join.broker_settings({"broker": 5})))


def test_what_is_measured_goes_with_its_number():
    app, contract = _contract()
    assert contract.sample() == {"input_34": 1, "relays_on": 0}
    app.outbox.boot, app.outbox.clock = 3, app.clock
    topic, text, qos = contract.reading([3, 7, 0, 0, '{"input_34": 1}', 0])
    assert (topic, qos) == (ROOT + "/telemetry", 1)
    assert json.loads(text) == {"input_34": 1, "boot": 3, "seq": 7, "age_ms": 0}


def test_what_a_board_says_of_itself_holds_no_secret():
    app, contract = _contract()
    app.put(wifi_password="secret-w", mqtt_password="secret-m", device_token="secret-t", page_password="secret-p")
    provision = late("provision")
    page = late("page")
    for text in (
        json.dumps(contract_status(contract)), json.dumps(autocore_join.about(contract)),
        json.dumps(page.standing(app)), provision.obey(app, "show"), provision.obey(app, "status"),
        provision.obey(app, "stats"), "".join(page.shown(app, late("texts_en").TEXTS)),
    ):
        assert "secret-" not in text, text


def contract_status(contract):
    return autocore_words.status(contract)
