"""A water meter of contract hidrometro, with its hardware remembered."""

import json

import flow
import hidrometro
import hidrometro_join
import hidrometro_words
from doubles import App, raises
from late import late


class Client:
    up = True

    def __init__(self):
        self.said = []

    def publish(self, topic, payload, qos, retain):
        self.said.append((topic, payload, qos, retain))
        return 1


def _meter(serial="HX2041"):
    app = App("hidrometro")
    app.put(device_uuid=serial)
    app.contract = hidrometro.Contract(app)
    hidrometro_join.begin(app.contract, {})
    return app, app.contract


def _second(app, contract, pulses):
    """What is told of a second in which so many pulses came."""
    app.clock.now += 1000
    app.hal.pulses += pulses
    values = contract.sample()
    assert values, "this one is said at once"
    topic, text, qos = contract.reading([3, 1, app.clock.now, 0, json.dumps(values), 0])
    assert (topic, qos) == ("hidrometro/dados", 1)
    contract.samples = 0
    return json.loads(text)


def test_75_pulses_in_a_second_are_10_litres_a_minute():
    app, contract = _meter()
    said = _second(app, contract, 75)
    assert said == {"totalLiters": 0.1667, "flowLmin": 10.0, "numeroSerie": "HX2041"}
    # What was counted is counted once.
    assert _second(app, contract, 0) == {"totalLiters": 0.1667, "flowLmin": 0.0, "numeroSerie": "HX2041"}
    # An interval that took longer than it should is counted as what it was.
    app.clock.now += 1000
    assert _second(app, contract, 150)["flowLmin"] == 10.0


def test_no_pulse_is_forgotten_however_much_has_flowed():
    one = flow.Flow(75000, 99999999999999)
    for _ in range(450):
        one.take(1, 1000)
    # 450 pulses are a litre.
    assert one.total == 99999999999999 + 1000000 and one.rest == 0
    assert flow.litres(one.total) == "100000001.0000"
    # Also when the factor is no round one.
    one = flow.Flow(71234)
    for _ in range(71234):
        one.take(3, 7)
    assert one.total * 60 * 71234 + one.rest == 3 * 71234 * 10000000000


def test_an_interval_of_nothing_changes_nothing():
    one = flow.Flow()
    one.take(75, 0)
    assert (one.total, one.flow) == (0, 0)


def test_a_factor_is_above_zero():
    one = flow.Flow()
    for bad in (0, -1, "x", None, float("nan"), float("inf"), True, 0.00001, 1000000, [7.5]):
        raises(ValueError, hidrometro_words.calibrate, one, bad)
    assert one.factor == flow.FACTOR
    hidrometro_words.calibrate(one, 7.2)
    assert one.factor == 72000


def test_time_is_told_when_somebody_knows_it():
    app, contract = _meter()
    assert "ts" not in _second(app, contract, 1)
    app.clock.day = 1767225600
    app.clock.put(1767225600)
    at = app.clock.now + 1000
    assert _second(app, contract, 1)["ts"] == app.clock.zero + at // 1000
    # Of an earlier start: as of then, or not at all.
    text = contract.reading([2, 9, 5, 1767220000, '{"total": 5000000, "flow": 0}', 0])[1]
    assert json.loads(text) == {"totalLiters": 5.0, "flowLmin": 0.0, "numeroSerie": "HX2041", "ts": 1767220000}
    assert "ts" not in contract.reading([2, 9, 5, 0, '{"total": 5000000, "flow": 0}', 0])[1]


def test_who_has_no_number_sends_none():
    app, contract = _meter(" hx7 ")
    assert _second(app, contract, 1)["numeroSerie"] == "HX7"
    app.values["device_uuid"] = ""
    assert sorted(_second(app, contract, 1)) == ["flowLmin", "totalLiters"]
    # One that was never told has one that follows from its address.
    assert _meter("")[0].get("device_uuid") == "HX0A1B2C"


def test_every_reading_is_said_and_every_thirtieth_is_kept_until_it_is_stored():
    app, contract = _meter()
    contract.client = Client()
    kept = 0
    for _ in range(60):
        app.clock.now += 1000
        app.hal.pulses += 75
        kept += bool(contract.sample())
    assert kept == 2
    assert len(contract.client.said) == 58
    topic, text, qos, retain = contract.client.said[-1]
    assert (topic, qos, retain) == ("hidrometro/dados", 0, False)
    assert json.loads(text)["totalLiters"] == 10.0
    # Without anybody there what flowed still counts.
    contract.client = None
    for _ in range(30):
        app.clock.now += 1000
        app.hal.pulses += 75
        kept += bool(contract.sample())
    assert (kept, contract.flow.total) == (3, 15000000)


def test_it_obeys_what_is_meant_for_it():
    app, contract = _meter()
    topic = "hidrometro/cmd"

    def tell(text):
        contract.heard(topic, text if isinstance(text, bytes) else text.encode())
        return contract.flow.factor, contract.flow.simulated

    usual = (flow.FACTOR, 0)
    for nothing in (
        "", "{", "[]", "5", "null", b"\xff", '{"action": "reset"', '{"action": "format"}', '{"action": 5}', "{}",
        '{"action": "setCalibration"}', '{"action": "setCalibration", "value": 0}', '{"action": "simulate", "value": -1}',
        '{"action": "setCalibration", "value": "x"}', '{"action": "simulate", "numeroSerie": "OTHER"}',
        '{"action": "simulate", "numeroSerie": ""}', '{"action": "simulate", "numeroSerie": 5}', '{"action": "update"}',
    ):
        assert tell(nothing) == usual, nothing
    assert tell('{"action": "setCalibration", "value": 15}') == (150000, 0)
    assert _second(app, contract, 75)["flowLmin"] == 5.0
    assert tell('{"action": "simulate"}')[1] == 8000
    assert _second(app, contract, 0)["flowLmin"] == 8.0
    assert tell('{"action": "simSetFlow", "value": 2.5}')[1] == 2500
    # A lake does not flow meanwhile.
    assert _second(app, contract, 1000)["flowLmin"] == 2.5
    assert tell('{"action": "simOff", "numeroSerie": "hx2041"}')[1] == 0
    assert tell('{"action": "simulate", "value": 3}')[1] == 3000
    assert tell('{"action": "simulateOff"}')[1] == 0
    tell('{"action": "reset"}')
    assert _second(app, contract, 0)["totalLiters"] == 0
    app.due, looked = 1, []
    app.later = looked.append
    tell('{"action": "update", "numeroSerie": "HX2041"}')
    tell('{"action": "update", "numeroSerie": "OTHER"}')
    assert len(looked) == 1
    contract.heard("hidrometro/other", b'{"action": "simulate"}')
    assert contract.flow.simulated == 0


def test_what_is_kept_outlives_a_power_cut():
    app, contract = _meter()
    _second(app, contract, 450)
    app.clock.now += 58000
    contract.tick()
    assert _meter()[1].flow.total == 0
    app.clock.now += 1000
    contract.tick()
    written = app.written
    assert _meter()[1].flow.total == 1000000
    # Nothing flows: nothing is written.
    for _ in range(5):
        app.clock.now += 60000
        contract.tick()
    assert app.written == written
    contract.heard("hidrometro/cmd", b'{"action": "setCalibration", "value": 7.2}')
    assert _meter()[1].flow.factor == 72000
    contract.heard("hidrometro/cmd", b'{"action": "reset"}')
    assert _meter()[1].flow.total == 0


def test_damage_to_what_is_kept_is_mended_from_the_copy():
    app, contract = _meter()
    _second(app, contract, 450)
    contract.save()
    with open("meter.json", "w") as file:
        file.write('{"factor": 75000, "total": 5, "rest": 0, "check": 1}')
    assert hidrometro_words.kept() == (75000, 1000000, 0)
    for bad in ("", "{", "[]", '{"factor": 0, "total": 1, "rest": 0}', '{"factor": 1, "total": "x", "rest": 0}', '{"total": 1}'):
        for name in ("meter.json", "meter.bak"):
            with open(name, "w") as file:
                file.write(bad)
        assert hidrometro_words.kept() == (75000, 0, 0), bad


def test_what_the_flash_does_not_take_is_told_and_counting_goes_on():
    import os

    app, contract = _meter()
    _second(app, contract, 450)
    os.mkdir("meter.json")
    os.mkdir("meter.json/x")
    contract.save()
    assert "not written" in app.said[-1]
    os.rmdir("meter.json/x")
    assert _second(app, contract, 450)["totalLiters"] == 2.0


def test_its_button_is_debounced_and_its_lamp_says_that_water_flows():
    app, contract = _meter()
    for at, level in ((0, 0), (49, 0), (50, 1), (60, 0), (100, 0)):
        app.clock.now, app.hal.inputs[4] = at, level
        contract.tick()
        assert contract.flow.simulated == 0
    for at in (110, 500, 5000):
        app.clock.now = at
        contract.tick()
        assert contract.flow.simulated == 8000
    _second(app, contract, 0)
    assert app.hal.levels[13] is True
    app.hal.inputs[4] = 1
    contract.tick()
    app.hal.inputs[4] = 0
    for _ in range(2):
        contract.tick()
        app.clock.now += 50
    contract.tick()
    assert contract.flow.simulated == 0
    _second(app, contract, 0)
    assert app.hal.levels[13] is False


def test_its_topics_and_its_account_are_settings():
    app, contract = _meter()
    assert hidrometro_join.topics(contract) == ("hidrometro/cmd",)
    assert hidrometro_join.ident(contract) == "hidrometro-02000a0a1b2c"
    # Nobody is told of a broker in public.
    assert hidrometro_join.broker(contract) == ("", 1883, None, None, False)
    app.put(device_token="key", mqtt_broker="b", topic_dados="hidrometro/3/5/dados", topic_cmd="hidrometro/3/5/cmd")
    assert hidrometro_join.broker(contract) == ("b", 1883, "hidrometro-HX2041", "key", False)
    contract.client = Client()
    app.clock.now += 1000
    contract.samples = 1
    contract.sample()
    assert contract.client.said[0][0] == "hidrometro/3/5/dados"
    contract.heard("hidrometro/3/5/cmd", b'{"action": "simulate"}')
    assert contract.flow.simulated == 8000
    app.put(mqtt_username="mine", mqtt_password="other")
    assert hidrometro_join.broker(contract)[2:4] == ("mine", "other")


def test_its_page_tells_what_flows_and_changes_nothing():
    app, contract = _meter()
    _second(app, contract, 75)
    page = late("page")
    status, kind, parts, _ = page.handle(app, "GET", "/api/current", {}, b"")
    assert (status, kind) == (200, "application/json")
    assert json.loads(parts[0]) == {
        "timestamp": 0, "totalLiters": 0.1667, "currentFlow_L_min": 10.0, "systemActive": True,
    }
    assert page.handle(app, "GET", "/api/sim?flow=8", {}, b"")[0] == 404
    assert page.handle(app, "POST", "/api/reset", {}, b"")[0] == 404
    assert page.standing(app)["totalLiters"] == 0.1667
    assert "HX2041" in "".join(page.shown(app, late("texts_pt").TEXTS))
    assert json.loads(late("provision").obey(app, "status"))["calibration"] == 7.5
