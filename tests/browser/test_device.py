"""The page of a device: every part of it does what it says, and the server says so too."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.journeys.relayboard import RelayBoard
from tests.running import RunningServer

pytestmark = pytest.mark.browser


class Actor:
    """An unmodified paho client that becomes what is desired of it and answers commands, when it is told to."""

    def __init__(self, server: RunningServer, name: str, key: str) -> None:
        self.name = name
        self.obeys = threading.Event()
        self.obeys.set()
        self.waiting: list[dict[str, Any]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        self._client.username_pw_set(name, key)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"relevo/{name}/desired", 1), (f"relevo/{name}/command", 1)]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", server.mqtt_port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _heard(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        if message.topic.endswith("command"):
            ok = body["name"] != "jam"
            more = {"result": {"done": True}} if ok else {"error": "the valve is stuck"}
            client.publish(f"relevo/{self.name}/response", json.dumps({"id": body["id"], "ok": ok, **more}), 1)
        elif self.obeys.is_set():
            self.say("state", body["values"])
        else:
            self.waiting.append(body["values"])

    def say(self, what: str, values: dict[str, Any]) -> None:
        self._client.publish(f"relevo/{self.name}/{what}", json.dumps(values), qos=1)

    def become(self) -> None:
        """What it was told and did not do yet."""
        for values in self.waiting:
            self.say("state", values)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def actor(server: RunningServer) -> Iterator[Actor]:
    key = server.register("actor", name="Pump house")
    made = Actor(server, "actor", key)
    made.say("state", {"pump": False})
    server.api.post("/api/v1/devices/actor/telemetry", json={"values": {"pressure_bar": 2.5, "pump": False}})
    yield made
    made.close()


def opened(visit: Visit, tab: str = "", device: str = "actor", **options: object) -> Page:
    page = visit(**options)
    page.goto(f"/ui/device/{device}{tab and '/' + tab}")
    wait_live(page)
    return page


def test_a_switch_shows_what_the_device_says_and_how_far_a_wish_got(visit: Visit, actor: Actor) -> None:
    page = opened(visit)
    section = page.get_by_role("region", name="Switches")
    switch = section.get_by_role("switch", name="Pump")
    expect(switch).to_have_attribute("aria-checked", "false")
    actor.obeys.clear()
    switch.click()
    expect(section).to_contain_text("Asked to be on")
    expect(section).to_contain_text("Waiting for the device to say so")
    # Nobody said that it is on, so nothing shows it.
    expect(switch).to_have_attribute("aria-checked", "false")
    # Whoever comes now sees the same.
    other = opened(visit)
    expect(other.get_by_role("region", name="Switches")).to_contain_text("Waiting for the device to say so")
    expect(other.get_by_role("switch", name="Pump")).to_have_attribute("aria-checked", "false")
    actor.become()
    actor.obeys.set()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(section).to_contain_text("Confirmed by the device")
    expect(other.get_by_role("switch", name="Pump")).to_have_attribute("aria-checked", "true")


def test_a_switch_that_the_device_does_not_follow_says_what_happened(
    visit: Visit, server: RunningServer, actor: Actor
) -> None:
    server.api.patch("/api/v1/devices/actor", json={"attributes": {"agree_within_s": 1}}).raise_for_status()
    page = opened(visit)
    section = page.get_by_role("region", name="Switches")
    actor.obeys.clear()
    was = section.get_by_role("switch", name="Pump").get_attribute("aria-checked")
    section.get_by_role("switch", name="Pump").click()
    expect(section).to_contain_text("Waiting for the device")
    # Only time in which the device is heard counts.
    for n in range(60):
        if "Not done" in section.inner_text():
            break
        actor.say("telemetry", {"pressure_bar": 2.5 + n / 10})
        page.wait_for_timeout(250)
    expect(section).to_contain_text("Not done: The device was heard, but it did not say that it did this.")
    expect(section.get_by_role("switch", name="Pump")).to_have_attribute("aria-checked", was or "")
    actor.obeys.set()
    actor.waiting.clear()


def test_a_relay_of_a_board_is_asked_sent_and_confirmed_or_its_silence_told(
    visit: Visit, server: RunningServer
) -> None:
    with RelayBoard(server, "shed-board", relays=2).register() as board:
        board.announce()
        page = opened(visit, device=board.id)
        section = page.get_by_role("region", name="Switches")
        first = section.get_by_role("listitem").filter(has=page.get_by_text("Relay 1", exact=True))
        first.get_by_role("button", name="Switch on: Relay 1").click()
        expect(first.get_by_role("status")).to_contain_text("Sent")
        expect(first.get_by_role("status")).to_contain_text("Confirmed by the device")
        expect(first.get_by_role("switch")).to_have_attribute("aria-checked", "true")
        assert board.commands() == [{"type": "relay", "channel": 1, "state": True}]
        # What was asked before the page was opened is told as well, with when it left.
        page.reload()
        expect(first.get_by_role("status")).to_contain_text("Sent")
        expect(first.get_by_role("status")).to_contain_text("Confirmed by the device")
        board.answers = False
        first.get_by_role("switch").click()
        expect(first.get_by_role("status")).to_contain_text("Sent")
        expect(first.get_by_role("status")).to_contain_text("Waiting for the device to say so")
        expect(first.get_by_role("switch")).to_have_attribute("aria-checked", "true")
        board.say("response", type="relay_response", channel=1, state=False)
        expect(first.get_by_role("switch")).to_have_attribute("aria-checked", "false")
        expect(first.get_by_role("status")).to_contain_text("Confirmed by the device")


def test_commands_are_sent_confirmed_failed_and_taken_back(visit: Visit, server: RunningServer, actor: Actor) -> None:
    page = opened(visit, "commands")
    form = page.get_by_role("region", name="Send a command")
    told = page.get_by_role("region", name="What it was told")
    form.get_by_role("textbox", name="Command").fill("flush")
    form.get_by_label("Parameters (JSON)").fill('{"seconds": 2')
    expect(form).to_contain_text("This is not a JSON object.")
    expect(form.get_by_role("button", name="Send")).to_be_disabled()
    form.get_by_label("Parameters (JSON)").fill('{"seconds": 2}')
    form.get_by_role("button", name="Send").click()
    flush = told.locator("ul.list > li").filter(has_text="flush")
    expect(flush).to_contain_text("Done")
    flush.get_by_text("Steps").click()
    expect(flush).to_contain_text("On its way")
    expect(flush).to_contain_text('{"done":true}')
    form.get_by_role("textbox", name="Command").fill("jam")
    form.get_by_role("button", name="Send").click()
    expect(told.locator("ul.list > li").filter(has_text="jam")).to_contain_text("the valve is stuck")

    server.register("sleeper", name="Sleeper")
    page = opened(visit, "commands", "sleeper")
    page.get_by_role("textbox", name="Command").fill("wake")
    page.get_by_role("button", name="Send").click()
    row = page.get_by_role("region", name="What it was told").locator("ul.list > li").filter(has_text="wake")
    expect(row).to_contain_text("Waiting")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("Taken back")


def test_what_is_desired_stands_beside_what_is_reported(visit: Visit, server: RunningServer, actor: Actor) -> None:
    page = opened(visit, "state")
    section = page.get_by_role("region", name="What it is to be, and what it says that it is").first
    section.get_by_role("button", name="Set a value").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key").fill("target")
    dialog.get_by_label("Value (JSON)").fill("21,5")
    expect(dialog).to_contain_text("This is not JSON.")
    dialog.get_by_label("Value (JSON)").fill("21.5")
    dialog.get_by_role("button", name="Set", exact=True).click()
    row = section.get_by_role("row").filter(has_text="target")
    expect(row).to_contain_text("as desired")
    assert row.get_by_text("21.5").count() == 2

    section.get_by_role("button", name="Edit all of it as JSON").click()
    # Somebody else was faster: what they wrote is not lost.
    server.api.patch("/api/v1/devices/actor/desired", json={"values": {"mode": "heat"}}).raise_for_status()
    dialog.get_by_label("What the device is to be").fill('{"target": 19}')
    dialog.get_by_role("button", name="Set", exact=True).click()
    expect(dialog).to_contain_text("Somebody else changed it meanwhile.")
    assert '"mode": "heat"' in dialog.get_by_label("What the device is to be").input_value()
    dialog.get_by_label("What the device is to be").fill('{"target": 19}')
    dialog.get_by_role("button", name="Set", exact=True).click()
    expect(row.get_by_text("19", exact=True)).to_have_count(2)
    assert server.api.get("/api/v1/devices/actor/desired").json()["values"] == {"target": 19}
    section.get_by_role("button", name="No longer desire target").click()
    expect(row).to_contain_text("not desired")


def test_the_timeline_says_why(visit: Visit, server: RunningServer, actor: Actor) -> None:
    server.api.post("/api/v1/devices/actor/telemetry", content="{" + "x" * 50)
    page = opened(visit, "timeline")
    why = page.get_by_role("region", name="Why does it not do what it should?")
    expect(why).to_contain_text("actor is online")
    expect(why).to_contain_text("What helps")
    expect(page.get_by_role("region", name="Timeline").get_by_role("listitem").first).to_be_visible()


def test_messages_are_shown_as_they_come_paused_and_filtered(visit: Visit, actor: Actor) -> None:
    page = opened(visit, "messages")
    section = page.get_by_role("region", name="Messages as they come and go")
    expect(section).to_contain_text("Nothing yet.")
    actor.say("telemetry", {"pressure_bar": 3.25})
    expect(section).to_contain_text('{"pressure_bar": 3.25}')
    expect(section).to_contain_text("relevo/actor/telemetry")
    expect(section).to_contain_text("stored")
    section.get_by_role("button", name="Pause").click()
    actor.say("telemetry", {"pressure_bar": 4.25})
    actor.say("telemetry", {"level_mm": 7})
    page.wait_for_timeout(300)
    expect(section).not_to_contain_text("4.25")
    section.get_by_role("button", name="Go on").click()
    expect(section).to_contain_text("4.25")
    section.get_by_label("Only with this text").fill("level_mm")
    expect(section.get_by_role("listitem")).to_have_count(1)


def test_rules_and_schedules_of_the_device_are_linked(visit: Visit, server: RunningServer, actor: Actor) -> None:
    body = {
        "name": "Pressure falls",
        "condition": {"value": {"key": "pressure_bar", "op": "<", "than": 1}},
        "scope": {"devices": ["actor"]},
        "actions": [{"alert": {"severity": "warning", "text": "low"}}],
    }
    rule = server.api.post("/api/v1/rules", json=body).json()
    page = opened(visit, "automation")
    link = page.get_by_role("region", name="Rules").get_by_role("link", name="Pressure falls")
    expect(link).to_have_attribute("href", f"/ui/rule/{rule['id']}")
    expect(page.get_by_role("link", name="New rule")).to_have_attribute("href", "/ui/rule/new?device=actor")
    expect(page.get_by_role("link", name="New schedule")).to_have_attribute("href", "/ui/schedule/new?device=actor")


def viewer(visit: Visit, server: RunningServer, name: str) -> Page:
    """Somebody who may only look, in a browser of their own."""
    answer = httpx.post(
        f"{server.http}/api/v1/auth/login",
        json={"username": name, "password": "a-long-enough-one"},
        headers={"Origin": server.http, "Sec-Fetch-Site": "same-origin"},
        trust_env=False,
    )
    page = visit(signed_in=False)
    page.context.add_cookies(
        [{"name": "relevo_session", "value": answer.cookies["relevo_session"], "url": server.http}]
    )
    return page


def test_sharing_shows_a_person_only_what_they_may(visit: Visit, server: RunningServer, actor: Actor) -> None:
    server.api.post("/api/v1/users", json={"name": "eva", "password": "a-long-enough-one", "role": "viewer"})
    page = opened(visit, "sharing")
    section = page.get_by_role("region", name="Who else may use it")
    section.get_by_label("User name").fill("nobody")
    section.get_by_role("button", name="Share").click()
    expect(section).to_contain_text("no user 'nobody'")
    section.get_by_label("User name").fill("eva")
    section.get_by_role("button", name="Share").click()
    expect(section.get_by_role("listitem")).to_contain_text("eva")

    theirs = viewer(visit, server, "eva")
    theirs.goto("/ui/device/actor")
    parts = theirs.get_by_role("navigation", name="Parts of this device")
    expect(parts.get_by_role("link", name="Charts")).to_be_visible()
    for hidden in ("Messages", "Sharing", "Keys", "Settings", "Rules and schedules"):
        expect(parts.get_by_role("link", name=hidden)).to_have_count(0)
    expect(theirs.get_by_role("region", name="Switches")).to_be_visible()
    expect(theirs.get_by_role("switch")).to_have_count(0)

    section.get_by_role("button", name="Take back").click()
    expect(section).to_contain_text("Nobody else.")
    assert server.api.get("/api/v1/devices/actor/grants").json()["items"] == []


def test_a_device_changes_hands_with_a_code_that_is_shown_once(visit: Visit, server: RunningServer) -> None:
    server.register("gift", name="Gift")
    page = opened(visit, "sharing", "gift")
    page.get_by_role("button", name="Let it belong to nobody").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    once = page.get_by_role("dialog", name="The code of the device")
    assert len(once.locator("code").inner_text()) >= 15
    once.get_by_role("button", name="I have kept it").click()
    expect(once).to_have_count(0)
    assert server.api.get("/api/v1/devices/gift").json()["owner"] is None


def test_keys_are_shown_once_and_revoked(visit: Visit, server: RunningServer) -> None:
    server.register("locked", name="Locked")
    page = opened(visit, "keys", "locked")
    section = page.get_by_role("region", name="What it proves itself with")
    section.get_by_role("button", name="New key").click()
    page.get_by_role("dialog").get_by_role("button", name="New key").click()
    once = page.get_by_role("dialog").filter(has_text="It is shown this once.")
    key = once.locator("code").inner_text()
    asked = httpx.get(
        f"{server.http}/api/v1/devices/locked/latest", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )
    assert asked.status_code == 200
    once.get_by_role("button", name="I have kept it").click()

    section.get_by_role("button", name="Add a password").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name for MQTT").fill("board-7")
    dialog.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("dialog").locator("code")).to_contain_text("board-7")
    page.get_by_role("button", name="I have kept it").click()
    section.get_by_role("button", name="Revoke: board-7").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(section.get_by_role("listitem").filter(has_text="board-7")).to_have_count(0)


def test_the_label_is_drawn_and_can_be_taken(visit: Visit, actor: Actor) -> None:
    page = opened(visit, "label")
    image = page.get_by_role("img", name="Label of Pump house")
    page.wait_for_function("() => document.querySelector('main img').naturalWidth > 0")
    expect(page.get_by_role("link", name="Save as SVG")).to_have_attribute("download", "actor.svg")
    page.get_by_label("What the code holds").select_option("alchemy")
    expect(image).to_have_attribute("src", "/api/v1/devices/actor/label.svg?form=alchemy")


def test_settings_are_kept_and_removing_asks_for_the_id(visit: Visit, server: RunningServer) -> None:
    server.register("brief", name="Brief")
    page = opened(visit, "settings", "brief")
    page.get_by_label("Name", exact=True).fill("Brief visit")
    page.get_by_label("Tags").fill("cellar, old , cellar")
    page.get_by_label("Sends every (seconds)").fill("30")
    page.get_by_label("Attributes (JSON)").fill('{"tariff": "house"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Brief visit")
    held = server.api.get("/api/v1/devices/brief").json()
    assert held["tags"] == ["cellar", "old"]
    assert held["attributes"] == {"expected_every_s": 30, "tariff": "house"}

    page.get_by_role("button", name="Remove this device").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Remove", exact=True)).to_be_disabled()
    dialog.get_by_role("textbox").fill("brief")
    dialog.get_by_role("button", name="Remove", exact=True).click()
    page.wait_for_url("**/ui/devices")
    assert server.api.get("/api/v1/devices/brief").status_code == 404


def test_a_meter_shows_what_flowed_and_what_it_costs(visit: Visit, server: RunningServer) -> None:
    server.register("meter", name="Kitchen meter")
    day = 86_400_000
    end = int(time.time() * 1000)
    rows = [{"ts": end - (40 - n) * day, "values": {"totalLiters": 1000.0 + 100 * n}} for n in range(40)]
    assert server.api.post("/api/v1/devices/meter/telemetry", json=rows).json()["stored"] == 40
    tariff = {"id": "house", "name": "House", "currency": "BRL", "base": 10.0, "steps": [{"price": 5.0}]}
    server.api.put("/api/v1/tariffs", json=tariff).raise_for_status()
    server.api.patch("/api/v1/devices/meter", json={"attributes": {"tariff": "house"}}).raise_for_status()
    page = opened(visit, "water", "meter")
    section = page.get_by_role("region", name="What flowed").first
    expect(section.get_by_role("img")).to_be_visible()
    asked = server.api.get("/api/v1/devices/meter/consumption", params={"by": "day"}).json()
    section.get_by_text("As a table").click()
    expect(section.locator("tbody tr")).to_have_count(len(asked["buckets"]))
    section.get_by_role("button", name="Months").click()
    expect(section).to_contain_text("All together: 3.90 m³")
    bill = page.get_by_role("region", name="What it costs").first
    expect(bill).to_contain_text("By the tariff house.")
    expect(bill).to_contain_text("R$")
    # A thermometer has no such part.
    parts = opened(visit).get_by_role("navigation", name="Parts of this device")
    expect(parts.get_by_role("link", name="Charts")).to_be_visible()
    expect(parts.get_by_role("link", name="Water")).to_have_count(0)
