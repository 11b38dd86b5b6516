"""The list of all devices: found, ordered, chosen and changed, also when there are thousands."""

import json
import threading
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser

MANY = 1_200


@pytest.fixture(scope="module")
def server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"RELEVO_PROFILE": "lab", "RELEVO_LIMITS__REQUESTS_PER_MINUTE_OF_USER": "0"}
    with RunningServer(tmp_path_factory.mktemp("fleet") / "data", env=env) as running:
        lines = ["contract,serial,key,name,type,site,tags"]
        lines += [f"hidrometro,M{n:04},,Meter {n:04},meter,,{'north' if n % 2 else 'south'}" for n in range(MANY)]
        answer = running.api.post(
            "/api/v1/factory", content="\n".join(lines).encode(), headers={"Content-Type": "text/csv"}
        )
        assert answer.status_code < 300, answer.text
        yield running


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def test_a_long_list_holds_only_what_is_in_sight_and_goes_to_its_end(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/devices")
    expect(page.get_by_text(f"{MANY:,} devices, 0 online")).to_be_visible()
    expect(page.get_by_role("link", name="Meter 0000", exact=True)).to_be_visible()
    assert page.locator("tbody tr").count() < 60
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.get_by_role("link", name=f"Meter {MANY - 1:04}", exact=True)
    expect(last).to_be_attached()
    assert page.locator("tbody tr").count() < 60
    assert page.get_by_role("table").get_attribute("aria-rowcount") == str(MANY + 1)


def test_filters_stand_in_the_address_and_say_how_many_fit(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/devices")
    filters = page.get_by_role("form", name="Filter")
    filters.get_by_label("Tag").select_option(label=f"north ({MANY // 2})")
    expect(page.get_by_text(f"{MANY // 2} devices, 0 online")).to_be_visible()
    assert "tag=north" in page.url
    filters.get_by_label("Search devices").fill("Meter 0001")
    expect(page.get_by_text("1 device, 0 online")).to_be_visible()
    page.reload()
    expect(row(page, "Meter 0001")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(2)
    filters.get_by_label("Search devices").fill("no such thing")
    expect(page.get_by_role("heading", name="No device fits these filters")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").last.click()
    expect(page.get_by_text(f"{MANY:,} devices, 0 online")).to_be_visible()
    assert "?" not in page.url


def test_what_comes_in_is_in_the_row_and_a_newcomer_in_the_list(visit: Visit, server: RunningServer) -> None:
    server.register("aaa-first", name="AAA first")
    page = visit()
    page.goto("/ui/devices")
    wait_live(page)
    expect(row(page, "AAA first")).to_contain_text("Offline")
    server.api.post("/api/v1/devices/aaa-first/telemetry", json={"temperature_c": 21.5})
    expect(row(page, "AAA first")).to_contain_text("21.5")
    server.api.post("/api/v1/devices/aaa-first/telemetry", json={"temperature_c": 22.5})
    expect(row(page, "AAA first")).to_contain_text("22.5")
    expect(row(page, "AAA first")).to_contain_text("Online")
    server.register("aaa-second", name="AAA second")
    expect(row(page, "AAA second")).to_be_visible()
    server.api.delete("/api/v1/devices/aaa-second")
    expect(row(page, "AAA second")).to_have_count(0)


def test_many_are_tagged_and_removed_after_their_number_was_typed(visit: Visit, server: RunningServer) -> None:
    for n in range(3):
        server.register(f"batch-{n}", name=f"Batch {n}")
    page = visit()
    page.goto("/ui/devices?search=batch")
    expect(row(page, "Batch 0")).to_be_visible()
    page.get_by_label("Select all that fit").check()
    bar = page.get_by_role("region", name="What to do with the selected")
    expect(bar).to_contain_text("3 selected")
    page.get_by_label("Select Batch 2").uncheck()
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Tags").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Tags to add").fill("spare, shelf")
    dialog.get_by_role("button", name="Apply").click()
    expect(row(page, "Batch 0")).to_contain_text("spare")
    assert server.api.get("/api/v1/devices/batch-1").json()["tags"] == ["spare", "shelf"]
    assert server.api.get("/api/v1/devices/batch-2").json()["tags"] == []
    bar.get_by_role("button", name="Remove").click()
    confirm = dialog.get_by_role("button", name="Remove")
    expect(confirm).to_be_disabled()
    dialog.get_by_role("textbox").fill("2")
    confirm.click()
    expect(page.get_by_text("2 devices removed")).to_be_visible()
    expect(row(page, "Batch 0")).to_have_count(0)
    expect(row(page, "Batch 2")).to_be_visible()
    expect(bar).to_have_count(0)


def test_a_command_to_many_says_how_far_it_is(visit: Visit, server: RunningServer) -> None:
    for name in ("obeys", "silent"):
        server.register(f"told-{name}", name=f"Told {name}")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "told-obeys")
    client.username_pw_set("told-obeys", "any")
    obeyed = threading.Event()
    ready = threading.Event()

    def answer(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        told = json.loads(message.payload)
        client.publish("relevo/told-obeys/response", json.dumps({"id": told["id"], "ok": True}), qos=1)
        obeyed.set()

    key = server.api.post("/api/v1/devices/told-obeys/credentials/keys", json={}).json()["key"]
    client.username_pw_set("told-obeys", key)
    client.on_message = answer
    client.on_connect = lambda *_: client.subscribe("relevo/told-obeys/command", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    assert ready.wait(10)
    page = visit()
    page.goto("/ui/devices?search=told")
    expect(row(page, "Told obeys")).to_be_visible()
    page.get_by_label("Select all that fit").check()
    page.get_by_role("button", name="Command").click()
    dialog = page.get_by_role("dialog", name="Command")
    dialog.get_by_label("Parameters (JSON)").fill("{not json")
    expect(dialog).to_contain_text("This is not a JSON object.")
    dialog.get_by_label("Parameters (JSON)").fill('{"relay_1": true}')
    dialog.get_by_role("button", name="Send to 2 devices").click()
    expect(dialog.get_by_role("status")).to_contain_text("1 of 2")
    assert obeyed.is_set()
    expect(dialog.get_by_role("listitem").filter(has_text="confirmed")).to_contain_text("1")
    client.disconnect()
    client.loop_stop()


def test_a_star_and_cards(visit: Visit, server: RunningServer) -> None:
    server.register("star-1", name="Starred one")
    page = visit()
    page.goto("/ui/devices?search=Starred")
    star = page.get_by_role("button", name="Keep Starred one on the home page")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    # Another browser shows what was kept.
    other = visit()
    other.goto("/ui/devices?search=Starred")
    kept = other.get_by_role("button", name="Keep Starred one on the home page")
    expect(kept).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Cards").click()
    expect(page.get_by_role("article").filter(has_text="Starred one")).to_be_visible()
    assert "view=cards" in page.url


def test_a_viewer_selects_nothing(visit: Visit, server: RunningServer) -> None:
    password = "a-long-passphrase-of-a-viewer"
    made = server.api.post("/api/v1/users", json={"name": "vera", "role": "viewer", "password": password})
    assert made.status_code == 201, made.text
    server.register("seen", name="Seen")
    page = visit(signed_in=False)
    page.goto("/ui/devices")
    page.get_by_label("User name").fill("vera")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Devices", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("link", name="Connect a board")).to_have_count(0)
