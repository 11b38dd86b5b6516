"""What devices of the EMQX platform are told, kept by hand."""

import json

import paho.mqtt.client as paho
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def test_a_broker_is_kept_tried_and_corrected(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/brokers")
    page.get_by_role("button", name="Add a broker").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Ours")
    dialog.get_by_label("Host").fill("not a host")
    dialog.get_by_label("Port").fill(str(server.mqtt_port))
    dialog.get_by_label("Password").fill("never shown")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".field.wrong").get_by_label("Host")).to_be_visible()
    dialog.get_by_label("Host").fill("127.0.0.1")
    dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("main").get_by_role("listitem").filter(has_text="Ours")
    expect(row).to_contain_text(f"mqtt://127.0.0.1:{server.mqtt_port}")
    row.get_by_role("button", name="Test").click()
    expect(page.get_by_role("log")).not_to_be_empty()
    row.get_by_role("button", name="Edit: Ours").click()
    expect(page.get_by_role("dialog").get_by_label("Password")).to_have_value("")
    page.get_by_role("dialog").get_by_role("switch", name="In use").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row).to_contain_text("off")
    (kept,) = server.api.get("/api/mqtt/brokers/").json()["results"]
    assert (kept["has_password"], kept["is_active"]) == (True, False)
    row.get_by_role("button", name="Remove: Ours").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_an_account_that_is_made_by_hand_opens_the_door(visit: Visit, server: RunningServer) -> None:
    device = {"nombre": "Greenhouse", "tipo": "esp32", "identificador_unico": "sn-9", "mqtt_client_id": "ESP32_009"}
    assert server.api.post("/api/devices/", json=device).status_code == 201
    page = visit()
    page.goto("/ui/brokers/credentials")
    page.get_by_role("button", name="Add an account").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Device").select_option("Greenhouse")
    dialog.get_by_label("Client id").fill("ESP32_009")
    dialog.get_by_label("User name").fill("device_009")
    dialog.get_by_label("Password").fill("blue elephants")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("main").get_by_role("listitem").filter(has_text="Greenhouse")).to_contain_text("ESP32_009")
    board = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="ESP32_009")
    board.username_pw_set("device_009", "blue elephants")
    board.connect("127.0.0.1", server.mqtt_port)
    board.loop_start()
    sent = board.publish("iot/sensors/ESP32_009/data", json.dumps({"device_id": "ESP32_009", "temperature": 21}), qos=1)
    sent.wait_for_publish(5)
    assert sent.is_published()
    board.disconnect()
    board.loop_stop()
