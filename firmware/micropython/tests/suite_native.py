"""A board of contract native, with its hardware remembered."""

import json

import native
import native_join
import native_words
import sensors
import sht31
from doubles import App, raises
from late import late

ROOT = "relevo/esp32-02000a0a1b2c/"


class Client:
    up = True

    def __init__(self):
        self.said = []

    def publish(self, topic, payload, qos, retain):
        self.said.append((topic, payload, qos, retain))
        return 1


def _board():
    app = App("native")
    app.contract = native.Contract(app)
    pins = {"climate": {"dht": 4}, "battery": {"pin": 35, "times": 2}, "outputs": {"heater": 26, "fan": 27}}
    native_join.begin(app.contract, pins)
    app.contract.client = Client()
    return app, app.contract


def _said(contract, channel):
    topic, payload, qos, retain = contract.client.said.pop()
    assert (topic, qos, retain) == (ROOT + channel, 1, False)
    return json.loads(payload)


def _command(contract, **body):
    contract.heard(ROOT + "command", json.dumps(body).encode())
    return _said(contract, "response")


def test_what_is_measured_goes_with_its_number_and_its_time():
    app, contract = _board()
    app.hal.measured = {"temperature": 21.456, "humidity": 40}
    app.hal.volts = 1950
    values = contract.sample()
    assert values == {"temperature": 21.46, "humidity": 40, "battery_v": 3.9, "wifi_rssi": -60}
    entry = [3, 7, 1500, 0, json.dumps(values), 0]
    topic, text, qos = contract.reading(entry)
    assert (topic, qos) == (ROOT + "telemetry", 1)
    assert json.loads(text) == {"values": values, "boot": 3, "seq": 7}
    app.clock.zero = 1767225600
    assert json.loads(contract.reading(entry)[1])["ts"] == 1767225601500
    # Of an earlier start: as of then.
    assert json.loads(contract.reading([2, 7, 99, 1767220000, "{}", 0])[1])["ts"] == 1767220000000


def test_what_is_not_there_is_left_out():
    app, contract = _board()
    app.hal.measured = {"temperature": float("nan"), "humidity": None}
    assert contract.sample() == {"battery_v": 0.0, "wifi_rssi": -60}
    app.hal.measured = {"temperature": float("inf"), "humidity": 40}
    assert contract.sample()["humidity"] == 40
    assert "temperature" not in contract.sample()
    app.hal.measured = None
    assert contract.sample() == {"battery_v": 0.0, "wifi_rssi": -60}
    assert sensors.begin(app, {}) == []
    app.outbox.dropped = 4
    assert contract.sample()["outbox_dropped"] == 4


def test_commands_are_carried_out_once_and_answered():
    app, contract = _board()
    app.clock.now = 5000
    first = _command(contract, id="a", name="ping", params={}, expires=1)
    assert first == {"id": "a", "ok": True, "result": {"uptime": 5}}
    app.clock.now = 9000
    assert _command(contract, id="a", name="ping", params={}, expires=1) == first
    assert _command(contract, id="b", name="status", params={})["result"]["device"] == "esp32-02000a0a1b2c"
    app.hal.measured = {"temperature": 20}
    assert _command(contract, id="c", name="measure")["result"]["temperature"] == 20
    assert _command(contract, id="d", name="explode") == {"id": "d", "ok": False, "error": "unknown command"}
    assert _command(contract, id="u", name="update", params={})["error"] == "unknown command"
    app.next = None
    assert _command(contract, id="e", name="restart") == {"id": "e", "ok": True, "result": {}}
    assert app.next is not None
    # After the reset it is still known.
    app, contract = _board()
    app.next = None
    assert _command(contract, id="e", name="restart") == {"id": "e", "ok": True, "result": {}}
    assert app.next is None


def test_a_command_that_came_too_late_is_not_carried_out():
    app, contract = _board()
    app.clock.day = 1767225600
    assert _command(contract, id="a", name="restart", expires=1767225599000)["error"] == "expired"
    assert _command(contract, id="b", name="ping", expires=1767225601000)["ok"] is True


def test_what_cannot_be_noted_is_not_carried_out():
    import os

    app, contract = _board()
    os.mkdir("done")
    app.next = None
    assert _command(contract, id="a", name="restart")["error"] == "flash"
    assert app.next is None


def test_what_is_no_command_is_passed_over():
    app, contract = _board()
    for text in ("", "{", "[]", "5", "\xff", '{"name": "ping"}', '{"id": [], "name": "ping"}', '{"id": "x", "name": "ping"'):
        contract.heard(ROOT + "command", text.encode())
        contract.heard(ROOT + "desired", text.encode())
    contract.heard("relevo/other/command", b'{"id": "x", "name": "restart"}')
    contract.heard(ROOT + "desired", b'{"version": 1, "values": 5}')
    assert contract.client.said == []


def test_it_becomes_what_is_desired_and_says_what_it_is():
    app, contract = _board()
    values = {"heater": True, "interval_s": 15, "colour": "red", "fan": 1}
    contract.heard(ROOT + "desired", json.dumps({"version": 7, "values": values}).encode())
    is_now = {"heater": True, "fan": False, "interval_s": 15, "firmware_version": "1.2.3"}
    assert _said(contract, "state") == is_now
    assert app.hal.levels == {26: True, 27: False}
    assert app.telemetry == 15000
    for bad in (0, 86401, True, 1.5, "60", None):
        contract.heard(ROOT + "desired", json.dumps({"values": {"interval_s": bad, "heater": None}}).encode())
        assert _said(contract, "state") == is_now
    # The interval outlives a reset, what is switched does not.
    app, contract = _board()
    assert native_words.state(contract) == dict(is_now, heater=False)
    assert app.hal.levels == {26: False, 27: False}


def test_it_says_that_it_is_there_after_what_it_is():
    app, contract = _board()
    native_join.hello(contract)
    (state, status) = contract.client.said
    assert state[0] == ROOT + "state"
    assert status == (ROOT + "status", "online", 1, True)
    assert native_join.will(contract) == (ROOT + "status", "offline")
    app.put(device_token="key", mqtt_broker="b")
    assert native_join.broker(contract) == ("b", 1883, "esp32-02000a0a1b2c", "key", False)


def test_updates_are_handed_on():
    app, contract = _board()
    contract.heard(ROOT + "update/manifest", b"x")
    heard = []
    app.due, app.updates = 1, [0, False, False, lambda *said: heard.append(said)]
    contract.heard(ROOT + "update/image", b"\x00")
    assert heard == [("image", b"\x00")]
    looked = []
    app.later = looked.append
    for _ in range(2):
        assert _command(contract, id="u", name="update", params={"release": "r-1"})["result"] == {"release": "r-1"}
    assert len(looked) == 1


def test_what_it_says_of_itself_holds_no_secret():
    app, contract = _board()
    app.put(wifi_password="secret-w", mqtt_password="secret-m", device_token="secret-t", page_password="secret-p")
    page, provision = late("page"), late("provision")
    for text in (
        json.dumps(native_words.status(contract)), json.dumps(page.standing(app)), provision.obey(app, "show"),
        provision.obey(app, "status"), "".join(page.shown(app, late("texts_en").TEXTS)),
    ):
        assert "secret-" not in text, text


class Bus:
    """I2C with one sensor; ``answer`` is what it says."""

    def __init__(self):
        self.told = []
        self.answer = b""

    def writeto(self, address, data):
        self.told.append((address, data))

    def readfrom(self, address, length):
        if self.answer is None:
            raise OSError("nobody there")
        return self.answer


def test_the_sensors_answer_is_checked_and_never_waited_for():
    # From the sensor's data sheet: 0xBEEF has the check 0x92.
    assert sht31.crc(b"\xbe\xef") == 0x92
    bus = Bus()
    sensor = sht31.Sht31(bus)
    raises(OSError, sensor.read)
    assert bus.told == [(0x44, b"\x20\x32")]
    raw = b"\x66\x66", b"\x80\x00"
    bus.answer = b"".join(part + bytes((sht31.crc(part),)) for part in raw)
    assert sensor.read() == {"temperature": 25.0, "humidity": 50.0}
    assert bus.told[-1] == (0x44, b"\xe0\x00")
    for bad in (bus.answer[:5], b"\x00" + bus.answer[1:], bus.answer[:5] + b"\x00", b"\xff" * 6, None):
        bus.answer = bad
        raises(OSError, sensor.read)
        # It may have forgotten that it shall measure.
        raises(OSError, sensor.read)
        assert bus.told[-1] == (0x44, b"\x20\x32")
    bus.answer = b"\x00\x00\x81" * 2
    assert sensor.read() == {"temperature": -45.0, "humidity": 0.0}


def test_the_broker_is_where_the_server_is():
    app, _ = _board()
    app.put(backend_ip="10.0.0.2")
    app.clock.day = 1767225600
    return _prepared(app)


async def _prepared(app):
    joining = late("joining")
    await joining.prepare(app)
    assert joining.broker(app, "me") == ("10.0.0.2", 1883, None, None, False)
    # It follows when the server moves, and stays where somebody told it to be.
    app.put(backend_ip="10.0.0.3", device_token="key")
    assert joining.broker(app, "me") == ("10.0.0.3", 1883, "me", "key", False)
    app.put(mqtt_broker="10.0.0.4")
    assert joining.broker(app, "me")[0] == "10.0.0.4"
    assert app.clock.zero == 1767225600
