"""Home: what needs somebody, what somebody wants to see first, and whoever comes for the first time."""

import json

import paho.mqtt.client as paho
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def publish(server: RunningServer, device: str, values: dict[str, object]) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=device)
    client.username_pw_set(device, "any key")
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    client.publish(f"relevo/{device}/telemetry", json.dumps(values), qos=1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def test_a_newcomer_is_told_as_it_speaks_and_gets_a_name(home: Page, server: RunningServer) -> None:
    publish(server, "kitchen", {"flow_lmin": 12.4})
    told = home.get_by_role("status").filter(has_text="kitchen says 12.4 L/min")
    expect(told).to_be_visible()
    told.get_by_label("What shall it be called?").fill("Kitchen meter")
    told.get_by_role("button", name="Keep the name").click()
    expect(home.get_by_role("heading", name="Kitchen meter says 12.4 L/min")).to_be_visible()
    assert server.api.get("/api/v1/devices/kitchen").json()["name"] == "Kitchen meter"
    home.get_by_role("button", name="Later").click()
    expect(home.get_by_role("heading", name="Kitchen meter says 12.4 L/min")).to_have_count(0)


def test_what_has_a_star_is_what_home_shows_also_elsewhere(visit: Visit, server: RunningServer) -> None:
    for name in ("Well", "Roof", "Barn"):
        server.register(name.lower(), name=name)
    page = visit()
    page.goto("/ui/")
    page.get_by_role("button", name="Keep Roof on the home page").click()
    cards = page.get_by_role("region", name="Favourites").get_by_role("article")
    expect(cards).to_have_count(1)
    # Another browser of the same person.
    other = visit()
    other.goto("/ui/")
    cards = other.get_by_role("region", name="Favourites").get_by_role("article")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("Roof")
    other.get_by_role("button", name="Keep Roof on the home page").click()
    expect(other.get_by_role("region", name="Your devices").get_by_role("article")).not_to_have_count(1)


def test_an_alert_and_a_failed_command_are_on_the_home_page_as_they_happen(visit: Visit, server: RunningServer) -> None:
    server.register("pump", name="Pump")
    page = visit()
    page.goto("/ui/")
    wait_live(page)
    rule = {
        "name": "Dry run", "condition": {"value": {"key": "level", "op": "<", "than": 5}},
        "scope": {"devices": ["pump"]}, "actions": [{"alert": {"severity": "critical", "text": "{name} runs dry"}}],
    }  # fmt: skip
    assert server.api.post("/api/v1/rules", json=rule).status_code == 201
    server.api.post("/api/v1/devices/pump/telemetry", json={"level": 2})
    attention = page.get_by_role("region", name="Needs attention")
    expect(attention).to_contain_text("Pump runs dry")
    answer = server.api.post("/api/v1/devices/pump/commands", json={"name": "reboot", "params": {}, "ttl": 1})
    assert answer.status_code in (200, 201, 202), answer.text
    expect(attention).to_contain_text("Command expired")


def test_the_page_opens_while_the_server_is_away_and_shows_what_was_seen_last(
    visit: Visit, server: RunningServer
) -> None:
    server.register("cellar", name="Cellar")
    server.api.post("/api/v1/devices/cellar/telemetry", json={"temperature_c": 11.5})
    page = visit()
    page.goto("/ui/")
    wait_live(page)
    expect(page.get_by_role("article").filter(has_text="Cellar")).to_contain_text("11.5")
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    server.stop()
    try:
        page.goto("/ui/")
        expect(page.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
        card = page.get_by_role("article").filter(has_text="Cellar")
        expect(card).to_contain_text("11.5")
        expect(card).to_contain_text("Offline")
    finally:
        server.start()
    # Nobody has to reload.
    wait_live(page)
    expect(page.get_by_role("alert").filter(has_text="cannot be reached")).to_have_count(0)
    server.api.post("/api/v1/devices/cellar/telemetry", json={"temperature_c": 12.5})
    expect(page.get_by_role("article").filter(has_text="Cellar")).to_contain_text("12.5")


def test_it_can_be_installed_as_an_app(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/")
    manifest = json.loads(page.request.get("/ui/manifest.webmanifest").text())
    assert (manifest["start_url"], manifest["scope"], manifest["display"]) == ("/ui/", "/ui/", "standalone")
    for icon in manifest["icons"]:
        answer = page.request.get(icon["src"])
        assert answer.status == 200
        assert answer.headers["content-type"] == icon["type"]
    assert page.locator("link[rel=manifest]").count() == 1
    session = page.context.new_cdp_session(page)
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    problems = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # A browser without a window has no other objection.
    assert [one["errorId"] for one in problems if one["errorId"] != "in-incognito"] == []
