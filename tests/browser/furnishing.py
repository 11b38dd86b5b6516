"""What a home is filled with before its pages are looked at: something of everything, as long as people make it."""

import json
import time
from typing import Any, Final

import paho.mqtt.client as paho

from tests.boards import HttpBoard, image
from tests.browser.pages import MADE
from tests.journeys.live import eventually
from tests.running import RunningServer

MARKUP: Final = "<img src=x onerror=alert(1)>"
"""Stands in every name; a page that took it for markup would have this picture."""
LONG_WORD: Final = MARKUP + "Bewässerungspumpensteuerungsgerät" * 2


def furnish(server: RunningServer) -> None:
    """Devices, strangers, water, rules, schedules and what follows from them; ids that addresses need go to MADE."""
    furnish_devices(server)
    furnish_a_device(server)
    furnish_water(server)
    furnish_automation(server)
    furnish_brokers(server)
    furnish_dashboards(server)
    furnish_firmware(server)


def furnish_devices(server: RunningServer) -> None:
    server.register("fitted", name=LONG_WORD)
    now = int(time.time() * 1000)
    values = {
        "temperature_c": 21.5, "total_energy_since_the_beginning_kwh": 123_456_789.123, "relay_1": True,
        "firmware_version": "v" + "1.2.3-" * 20, "a" * 64: 0.000_001, "nested": {"deep": [1, 2, 3] * 20},
    }  # fmt: skip
    rows = [{"ts": now - 60_000 + n * 1_000, "values": {**values, "temperature_c": 20 + n / 10}} for n in range(50)]
    assert server.api.post("/api/v1/devices/fitted/telemetry", json=rows).json()["stored"] == 50
    server.api.post("/api/v1/devices/fitted/telemetry", content="{" + "x" * 500)
    server.register("plain", name="Plain")
    meter = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="meter")
    meter.connect("127.0.0.1", server.mqtt_port)
    meter.loop_start()
    for n in range(3):
        reading = {"totalLiters": 10.0**9 + n, "flowLmin": 4.6, "numeroSerie": f"LONGSERIAL{n}" + "X" * 20}
        meter.publish("hidrometro/dados", json.dumps(reading), qos=1).wait_for_publish(5)
    meter.disconnect()
    meter.loop_stop()
    assert len(server.api.get("/api/v1/unclaimed").json()["items"]) == 3
    server.api.post("/api/v1/auth/login", json={"username": "x" * 120, "password": "wrong"})


def furnish_a_device(server: RunningServer) -> None:
    """What the parts of a device's page show: commands, desired state, shares, keys, and water for months."""
    api = server.api
    long = {"channel": 3, "text": "x" * 200}
    assert api.post("/api/v1/devices/fitted/commands", json={"name": "relay", "params": long}).status_code == 202
    wanted = {"values": {"target": 21.5, "mode": LONG_WORD, "nested": {"deep": [1, 2, 3] * 20}}}
    assert api.patch("/api/v1/devices/fitted/desired", json=wanted).status_code == 200
    account = {"name": "n" * 64, "password": "correct-horse-battery", "role": "viewer"}
    assert api.post("/api/v1/users", json=account).status_code == 201
    assert api.post("/api/v1/devices/fitted/grants", json={"account": account["name"]}).status_code == 201
    key = {"username": "u" * 64, "label": LONG_WORD}
    assert api.post("/api/v1/devices/fitted/credentials/passwords", json=key).status_code == 201
    server.register("tapped", name=LONG_WORD)
    now = int(time.time() * 1000)
    rows = [{"ts": now - n * 86_400_000, "values": {"total_liters": 1e6 - n * 1e4}} for n in range(60, -1, -1)]
    assert api.post("/api/v1/devices/tapped/telemetry", json=rows).json()["stored"] == 61


def furnish_water(server: RunningServer) -> None:
    step = {"up_to_m3": None, "price": 123_456.78}
    tariff = {"id": "t" * 64, "name": LONG_WORD, "currency": "BRL", "base": 9_999.99, "steps": [step]}
    assert server.api.put("/api/v1/tariffs", json=tariff).status_code == 200
    customer = {"name": LONG_WORD, "contact": LONG_WORD, "tariff": tariff["id"]}
    assert server.api.post("/api/v1/customers", json=customer).status_code == 201
    meter = take_in_meter(server, "L0NG-METER", LONG_WORD)
    server.api.patch(f"/api/v1/devices/{meter}", json={"attributes": {"id_cliente": 1}})
    server.api.post(f"/api/v1/devices/{meter}/telemetry", json={"totalLiters": 1e9, "flowLmin": 1e4})


def take_in_meter(server: RunningServer, serial: str, name: str) -> str:
    """A meter of contract hidrometro that is somebody's; its id."""
    made = server.api.post("/api/v1/claim-codes", json={"contract": "hidrometro", "external_id": serial})
    assert made.status_code == 201, made.text
    claimed = server.api.post("/api/v1/claims", json={"code": made.json()["code"], "name": name})
    assert claimed.status_code in (200, 201), claimed.text
    return str(claimed.json()["id"])


def furnish_automation(server: RunningServer) -> None:
    """A rule that has fired, a schedule that has run, a channel, a webhook: each as long as people make them."""
    api = server.api
    webhook = {"name": LONG_WORD[:64], "url": "https://example.org/" + "x" * 200, "kinds": ["alert"], "tags": ["roof"]}
    MADE["webhook"] = api.post("/api/v1/webhooks", json=webhook).json()["id"]
    above = {"value": {"key": "temperature_c", "op": ">", "than": 30, "hysteresis": 1}}
    condition = {"any": [above, {"all": [{"presence": {"online": False}}, {"absent": {"for_s": 86_400}}]}]}
    switch = {"desired": {"device": "fitted", "values": {"relay_1": True}}}
    actions = [{"alert": {"severity": "critical", "text": "{name} has {temperature_c}"}}, switch]
    rule = {"name": LONG_WORD, "scope": {"devices": ["fitted"]}, "condition": condition, "actions": actions}
    MADE["rule"] = api.post("/api/v1/rules", json=rule).json()["id"]
    window = {"days": ["mon", "fri"], "from": "18:30", "to": "01:15"}
    off = {"desired": {"device": "fitted", "values": {"relay_1": False}}}
    timing = {"kind": "weekly", "windows": [window]}
    schedule = {"name": LONG_WORD, "timing": timing, "action": switch, "end_action": off, "zone": "Europe/Madrid"}
    MADE["schedule"] = api.post("/api/v1/schedules", json=schedule).json()["id"]
    api.post(f"/api/v1/schedules/{MADE['schedule']}/run").raise_for_status()
    channel = {"name": LONG_WORD[:64], "url": "ntfy://my-topic"}
    api.post("/api/v1/notifications/channels", json=channel).raise_for_status()
    api.post("/api/v1/notifications/test", json={"title": LONG_WORD, "text": LONG_WORD}).raise_for_status()
    for value in (20, 40):
        api.post("/api/v1/devices/fitted/telemetry", json={"values": {"temperature_c": value}}).raise_for_status()


def furnish_brokers(server: RunningServer) -> None:
    broker = {"nombre": LONG_WORD[:100], "host": "broker." + "x" * 50 + ".example", "is_active": True}
    assert server.api.post("/api/mqtt/brokers/", json=broker).status_code == 201
    topic = {"nombre": LONG_WORD[:100], "topic_pattern": "iot/" + "y" * 60 + "/{device_id}/data"}
    assert server.api.post("/api/mqtt/topics/", json=topic).status_code == 201


def furnish_dashboards(server: RunningServer) -> None:
    """One with a widget of each type, some of which have nothing to show."""
    key = "total_energy_since_the_beginning_kwh"
    of = {"device": "fitted", "key": "temperature_c", "title": LONG_WORD}
    sizes: list[dict[str, Any]] = [
        {"type": "value", "device": "fitted", "key": key, "options": {"trend": True}},
        of | {"type": "gauge", "h": 4, "options": {"min": 0, "max": 50, "warn": 20, "critical": 40}},
        {"type": "chart", "h": 5, "title": LONG_WORD, "options": {"series": [{"device": "fitted", "key": key}]}},
        of | {"type": "switch", "key": "relay_1", "options": {"on_label": LONG_WORD, "off_label": LONG_WORD}},
        of | {"type": "slider", "options": {"min": 5, "max": 30}},
        of | {"type": "button", "key": "", "options": {"command": "restart", "label": LONG_WORD}},
        {"type": "status", "device": "plain"},
        {"type": "text", "options": {"text": f"# {LONG_WORD}\n- {LONG_WORD}\n**{LONG_WORD}**"}},
        {"type": "picture", "h": 3, "title": "Plan"},
        {"type": "table", "h": 3, "options": {"devices": ["fitted", "plain"], "keys": [key, "nested"]}},
        {"type": "alerts", "h": 3},
        {"type": "countdown", "options": {"schedule": MADE["schedule"]}},
    ]
    place = {"x": 0, "y": 0, "w": 3, "h": 2}
    widgets = [place | {"x": number % 4 * 3, "y": number // 4 * 5} | one for number, one in enumerate(sizes)]
    made = server.api.post("/api/v1/dashboards", json={"name": LONG_WORD[:128], "widgets": widgets})
    assert made.status_code == 201, made.text
    MADE["dashboard"] = made.json()["id"]
    walls = f"/api/v1/dashboards/{MADE['dashboard']}/walls"
    server.canaries.plant(server.api.post(walls, json={"name": LONG_WORD[:128]}).json()["token"])
    alone = {"name": LONG_WORD[:128], "widgets": [place | {"type": "status", "device": "plain"}]}
    template = {"dashboard": server.api.post("/api/v1/dashboards", json=alone).json()["id"]}
    assert server.api.put("/api/v1/dashboards/templates/pump", json=template).status_code == 200


def furnish_firmware(server: RunningServer) -> None:
    """A release, and a roll-out of it that halted because of a board with much to say."""
    api = server.api
    made = api.post("/api/v1/firmware", content=image("1.4.0-" + "x" * 26, "b" * 32, notes=LONG_WORD * 5))
    assert made.status_code == 201, made.text
    MADE["release"] = made.json()["id"]
    with HttpBoard(server, "boarded", server.register("boarded", name=LONG_WORD), board="b" * 32) as board:
        assert board.look() is None
        body = {"release": MADE["release"], "target": {"devices": ["boarded", "plain"]}, "note": LONG_WORD}
        answer = api.post("/api/v1/rollouts", json=body)
        assert answer.status_code == 201, answer.text
        MADE["rollout"] = answer.json()["id"]
        eventually(lambda: board.update("rolled_back", f"crash: {LONG_WORD}"), 10)
    path = f"/api/v1/rollouts/{MADE['rollout']}"
    eventually(lambda: api.get(path).json()["state"] == "halted", 10)
