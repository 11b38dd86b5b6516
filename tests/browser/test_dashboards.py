"""Dashboards: built by keyboard, mouse and on a phone, switched honestly, hung on walls, kept in spite of others."""

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.browser.looking import AXE, OVERFLOW, VIOLATIONS
from tests.running import RunningServer

pytestmark = pytest.mark.browser

BOARDS = "/api/v1/dashboards"


def board(server: RunningServer, *widgets: dict[str, Any], name: str = "Farm") -> str:
    """A dashboard with these widgets; its id."""
    place = {"x": 0, "y": 0, "w": 3, "h": 2}
    made = server.api.post(BOARDS, json={"name": name, "widgets": [place | one for one in widgets]})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def say(server: RunningServer, device: str, **values: Any) -> None:
    assert server.api.post(f"/api/v1/devices/{device}/telemetry", json=values).status_code == 200


def widgets(server: RunningServer, board_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.api.get(f"{BOARDS}/{board_id}").json()["widgets"]
    return found


def tile(page: Page, text: str) -> Locator:
    return page.locator("main section").filter(has_text=text)


class Switchable:
    """A device on MQTT that has a pump, and does as it is told when it is let."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self._topic = f"relevo/{name}"
        self.asked: list[dict[str, Any]] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        self._client.username_pw_set(name, server.register(name, name=name.capitalize()))
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", server.mqtt_port)
        self._client.subscribe(f"{self._topic}/desired", qos=1)
        self._client.loop_start()

    def _heard(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.asked.append(json.loads(message.payload))

    def report(self, **values: Any) -> None:
        self._client.publish(f"{self._topic}/state", json.dumps(values), qos=1).wait_for_publish(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def switchable(server: RunningServer) -> Iterator[Callable[[str], Switchable]]:
    made: list[Switchable] = []

    def make(name: str) -> Switchable:
        made.append(Switchable(server, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there."""
    for _ in range(150):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("not to be reached by keyboard")


def test_a_dashboard_is_built_by_keyboard_alone(visit: Visit, server: RunningServer) -> None:
    server.register("tank", name="Tank")
    say(server, "tank", level=41.5)
    page = visit(viewport={"width": 1280, "height": 900})
    page.goto("/ui/dashboards")
    tab_to(page, page.get_by_role("button", name="New dashboard").first)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("dialog").get_by_label("Name", exact=True))
    page.keyboard.type("By hand")
    page.keyboard.press("Enter")
    page.get_by_role("toolbar").wait_for()
    for kind in ("Gauge", "Text"):
        tab_to(page, page.get_by_role("toolbar").get_by_role("button", name="Add a widget"))
        page.keyboard.press("Enter")
        tab_to(page, page.get_by_role("dialog").get_by_role("button", name=kind))
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name=kind)
        if kind == "Gauge":
            # What is needed is said where it is needed.
            tab_to(page, dialog.get_by_role("button", name="Done"))
            page.keyboard.press("Enter")
            expect(dialog.get_by_text("This is needed.")).to_be_visible()
            page.keyboard.press("Shift+Tab")
            tab_to(page, dialog.get_by_role("combobox", name="Device"))
            page.keyboard.type("Tank")
            page.get_by_role("option", name="Tank").wait_for()
            page.keyboard.press("Enter")
            tab_to(page, dialog.get_by_label("Value", exact=True))
            page.keyboard.press("Control+A")
            page.keyboard.type("level")
        else:
            tab_to(page, dialog.get_by_role("textbox", name="Text"))
            page.keyboard.type("# Note")
        tab_to(page, dialog.get_by_role("button", name="Done"))
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)

    handle = page.get_by_role("button", name="Move Gauge level")
    tab_to(page, handle)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    told = page.get_by_role("status").filter(has_text="Gauge level")
    expect(told).to_have_text("Gauge level: column 2, row 1, 3 wide, 4 high.")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Control+z")
    expect(handle).to_be_focused()
    page.keyboard.press("Control+s")
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    expect(tile(page, "41.5")).to_be_visible()
    (made,) = [one for one in server.api.get(BOARDS).json()["items"] if one["name"] == "By hand"]
    gauge, text = made["widgets"]
    assert (gauge["type"], gauge["device"], gauge["key"], gauge["x"], gauge["w"], gauge["h"]) == (
        "gauge", "tank", "level", 1, 3, 4,
    )  # fmt: skip
    assert (text["type"], text["options"]["text"]) == ("text", "# Note")


def test_widgets_are_dragged_and_sized_by_mouse_and_taken_back(visit: Visit, server: RunningServer) -> None:
    note = {"type": "text"}
    made = board(server, note | {"title": "One", "w": 4}, note | {"title": "Two", "x": 4, "w": 4}, name="By mouse")
    page = visit(viewport={"width": 1280, "height": 900})
    page.goto(f"/ui/dashboard/{made}")
    page.get_by_role("button", name="Edit", exact=True).click()
    first, second = tile(page, "One"), tile(page, "Two")
    start, goal = first.bounding_box(), second.bounding_box()
    assert start is not None and goal is not None
    page.mouse.move(start["x"] + 120, start["y"] + 12)
    page.mouse.down()
    page.mouse.move(goal["x"] + 200, goal["y"] + 12, steps=4)
    page.mouse.move(goal["x"] + goal["width"] + 140, goal["y"] + 12, steps=4)
    page.mouse.up()
    expect(page.get_by_role("status").filter(has_text="Text One")).to_contain_text("column 9, row 1")
    box = first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 6, box["y"] + box["height"] - 6)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 6, box["y"] + box["height"] + 180, steps=4)
    page.mouse.up()
    expect(page.get_by_role("status").filter(has_text="Text One")).to_contain_text("4 wide, 4 high")
    page.get_by_role("button", name="Take back").click()
    page.get_by_role("button", name="Do again").click()
    page.get_by_role("button", name="Take back").click()
    page.get_by_role("toolbar").get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    places = {one["title"]: (one["x"], one["y"], one["w"], one["h"]) for one in widgets(server, made)}
    assert places == {"One": (8, 0, 4, 2), "Two": (4, 0, 4, 2)}


def test_a_switch_tells_what_was_asked_and_turns_when_the_device_says_so(
    visit: Visit, server: RunningServer, switchable: Callable[[str], Switchable]
) -> None:
    pump = switchable("pump")
    pump.report(motor=False)
    made = board(server, {"type": "switch", "device": "pump", "key": "motor", "title": "Motor"})
    page = visit()
    page.goto(f"/ui/dashboard/{made}")
    wait_live(page)
    switch = page.get_by_role("switch", name="Motor")
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.click()
    # Asked is not done: it stays off until the device says otherwise.
    expect(tile(page, "Motor").get_by_role("status")).to_contain_text("On: waiting for the device")
    expect(switch).to_have_attribute("aria-checked", "false")
    pump.report(motor=True)
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(tile(page, "Motor").get_by_role("status")).to_contain_text("Confirmed")
    assert pump.asked[-1]["values"] == {"motor": True}
    # Somebody else switches it off.
    pump.report(motor=False)
    expect(switch).to_have_attribute("aria-checked", "false")


def test_a_wall_lives_without_a_session_and_ends_when_it_is_revoked(visit: Visit, server: RunningServer) -> None:
    server.register("roof", name="Roof")
    say(server, "roof", temperature_c=11.5)
    value = {"type": "value", "device": "roof", "key": "temperature_c"}
    made = board(server, value, {"type": "chart", "device": "roof", "key": "temperature_c", "x": 3, "w": 6, "h": 4})
    page = visit()
    page.goto(f"/ui/dashboard/{made}")
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Where it hangs").fill("Kitchen")
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.locator("pre code").inner_text()
    server.canaries.plant(link.rsplit("/", 1)[1])

    screen = visit(signed_in=False, viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(request.url))
    screen.goto(link)
    expect(tile(screen, "11.5").first).to_be_visible()
    expect(screen.get_by_role("status").filter(has_text="Live")).to_be_visible()
    say(server, "roof", temperature_c=12.5)
    expect(tile(screen, "12.5").first).to_be_visible()
    assert screen.context.cookies() == []
    own = [url for url in asked if "/api/v1/" in url and "/api/v1/walls/" not in url]
    assert own == [], "a wall asks for nothing but itself"
    screen.evaluate(AXE.read_text())
    assert screen.evaluate(VIOLATIONS) == []
    assert screen.evaluate(OVERFLOW) == []

    dialog.get_by_role("button", name="Revoke: Kitchen").click()
    page.get_by_role("dialog").last.get_by_role("button", name="Revoke", exact=True).click()
    expect(screen.get_by_role("heading", name="There is nothing here")).to_be_visible()
    expect(screen.get_by_text("12.5")).to_have_count(0)


@pytest.mark.parametrize("mine", [True, False])
def test_of_two_who_change_it_the_second_is_asked(visit: Visit, server: RunningServer, mine: bool) -> None:
    made = board(server, {"type": "text", "title": "Note"}, name=f"Both {mine}")
    page = visit()
    page.goto(f"/ui/dashboard/{made}?edit=yes")
    name = page.get_by_role("toolbar").get_by_label("Name")
    name.fill("Mine")
    name.press("Tab")
    assert server.api.patch(f"{BOARDS}/{made}", json={"name": "Theirs"}).status_code == 200
    page.get_by_role("toolbar").get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="Somebody else changed it")
    if mine:
        dialog.get_by_role("button", name="Keep mine").click()
        expect(page.get_by_role("heading", name="Mine")).to_be_visible()
        assert server.api.get(f"{BOARDS}/{made}").json()["name"] == "Mine"
    else:
        dialog.get_by_role("button", name="Take theirs").click()
        expect(name).to_have_value("Theirs")
        assert server.api.get(f"{BOARDS}/{made}").json()["name"] == "Theirs"


def test_what_the_server_has_against_an_option_is_told_at_its_field(visit: Visit, server: RunningServer) -> None:
    server.register("gauged", name="Gauged")
    say(server, "gauged", t=1.0)
    made = board(server, {"type": "gauge", "device": "gauged", "key": "t", "title": "Scale"})
    page = visit()
    page.goto(f"/ui/dashboard/{made}?edit=yes")
    page.get_by_role("button", name="Edit: Gauge Scale").click()
    dialog = page.get_by_role("dialog", name="Gauge")
    dialog.get_by_label("Highest").fill("-5")
    dialog.get_by_role("button", name="Done").click()
    page.get_by_role("toolbar").get_by_role("button", name="Save").click()
    # Its form opens again, and says what is wrong where it is.
    wrong = dialog.get_by_label("Highest")
    expect(wrong).to_be_visible()
    expect(wrong).to_have_accessible_description("must be more than options.min, which is 0")
    wrong.fill("50")
    dialog.get_by_role("button", name="Done").click()
    page.get_by_role("toolbar").get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    assert widgets(server, made)[0]["options"]["max"] == 50


def test_on_a_phone_it_is_one_column_as_one_reads(visit: Visit, server: RunningServer) -> None:
    note = {"type": "text", "w": 4}
    made = board(
        server, note | {"title": "Third", "y": 2}, note | {"title": "Second", "x": 6}, note | {"title": "First"}
    )
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto(f"/ui/dashboard/{made}")
    headings = page.locator("main section h2")
    expect(headings).to_have_text(["First", "Second", "Third"])
    boxes = [one.bounding_box() for one in page.locator("main section").all()]
    assert all(box is not None and box["width"] > 340 for box in boxes)
    assert page.evaluate(OVERFLOW) == []
    page.get_by_role("button", name="Edit", exact=True).tap()
    page.get_by_role("button", name="Earlier: Text Second").tap()
    page.get_by_role("toolbar").get_by_role("button", name="Save").tap()
    expect(headings).to_have_text(["Second", "First", "Third"])


def test_a_dashboard_is_offered_for_a_device_and_says_calmly_when_it_is_gone(
    visit: Visit, server: RunningServer
) -> None:
    server.register("leaving", name="Leaving")
    say(server, "leaving", temperature_c=20.5)
    page = visit()
    page.goto("/ui/dashboards?device=leaving")
    page.get_by_role("dialog").get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Leaving", exact=True).first).to_be_visible()
    expect(page.locator("main section .value").filter(has_text="20.5").first).to_be_visible()
    wait_live(page)
    assert server.api.delete("/api/v1/devices/leaving").status_code in (200, 204)
    expect(page.get_by_text("The device was removed.").first).to_be_visible()


def test_a_page_that_was_hidden_shows_what_came_meanwhile(visit: Visit, server: RunningServer) -> None:
    server.register("hidden", name="Hidden")
    say(server, "hidden", t=1.0)
    made = board(server, {"type": "value", "device": "hidden", "key": "t"})
    page = visit()
    # As browsers do with a tab that nobody sees: it is told so, and gets no frames.
    page.add_init_script("""
      const frame = requestAnimationFrame.bind(window);
      window.away = false;
      Object.defineProperty(document, 'hidden', { get: () => window.away });
      window.requestAnimationFrame = (call) => (window.away ? 0 : frame(call));
    """)
    page.goto(f"/ui/dashboard/{made}")
    wait_live(page)
    value = page.locator("main section .value")
    expect(value).to_have_text("1")
    page.evaluate("() => { window.away = true; document.dispatchEvent(new Event('visibilitychange')); }")
    for n in range(2, 40):
        say(server, "hidden", t=float(n))
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(value).to_have_text("39")


def test_somebody_it_is_shared_with_sees_it_without_devices_of_others(visit: Visit, server: RunningServer) -> None:
    server.register("private", name="Private")
    say(server, "private", t=77.5)
    account = {"name": "bea", "password": "a-long-enough-one", "role": "viewer"}
    assert server.api.post("/api/v1/users", json=account).status_code == 201
    made = board(server, {"type": "value", "device": "private", "key": "t"}, name="For Bea")
    page = visit()
    page.goto(f"/ui/dashboard/{made}")
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").fill("nobody-of-that-name")
    dialog.get_by_role("button", name="Share").click()
    expect(dialog.get_by_label("User name")).to_have_accessible_description("no user 'nobody-of-that-name'")
    dialog.get_by_label("User name").fill("bea")
    dialog.get_by_role("button", name="Share").click()
    expect(dialog.get_by_role("listitem").filter(has_text="bea")).to_be_visible()

    other = visit(signed_in=False)
    other.goto("/ui/dashboards")
    other.get_by_label("User name").fill("bea")
    other.get_by_label("Password").fill(account["password"])
    other.get_by_role("button", name="Sign in").click()
    other.get_by_role("link", name="For Bea").click()
    expect(other.get_by_text("This shows a device that is not shared with you.")).to_be_visible()
    expect(other.get_by_role("button", name="Edit", exact=True)).to_have_count(0)
    expect(other.get_by_text("77.5")).to_have_count(0)


def test_the_form_of_every_widget_can_be_used_by_everybody(visit: Visit, server: RunningServer) -> None:
    made = board(server, {"type": "text", "title": "Note"}, name="Forms")
    page = visit(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.goto(f"/ui/dashboard/{made}?edit=yes")
    page.evaluate(AXE.read_text())
    add = page.get_by_role("toolbar").get_by_role("button", name="Add a widget")
    add.click()
    kinds = page.get_by_role("dialog").locator("li strong").all_inner_texts()
    assert len(kinds) == 13
    for kind in kinds:
        page.get_by_role("dialog").get_by_role("button", name=kind).first.click()
        form = page.get_by_role("dialog", name=kind)
        form.get_by_label("Heading").wait_for()
        if kind == "Chart":
            form.get_by_role("button", name="Add a line").click()
        found = page.evaluate(VIOLATIONS)
        assert found == [], f"{kind}: {found}"
        form.get_by_role("button", name="Cancel").click()
        add.click()


def test_values_are_pinned_to_a_picture_by_mouse_and_by_keyboard(visit: Visit, server: RunningServer) -> None:
    server.register("cellar", name="Cellar")
    say(server, "cellar", temperature_c=9.5)
    made = board(server, name="Plan")
    page = visit(viewport={"width": 1280, "height": 900})
    page.goto(f"/ui/dashboard/{made}?edit=yes")
    page.get_by_role("toolbar").get_by_role("button", name="Add a widget").click()
    page.get_by_role("dialog").get_by_role("button", name="Picture map").click()
    form = page.get_by_role("dialog", name="Picture map")
    plan = {"name": "plan.png", "mimeType": "image/png", "buffer": png(400, 300)}
    form.get_by_label("Picture", exact=True).set_input_files(plan)  # type: ignore[arg-type]
    form.get_by_role("button", name="Add a pin").click()
    form.get_by_role("combobox", name="Device").fill("Cellar")
    form.get_by_role("option", name="Cellar").click()
    form.get_by_label("Value", exact=True).fill("temperature_c")
    pin = form.get_by_role("button", name="Move temperature_c")
    box = form.get_by_role("img", name="Picture").bounding_box()
    assert box is not None
    pin.hover()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4, steps=3)
    page.mouse.up()
    pin.press("ArrowRight")
    pin.press("Shift+ArrowDown")
    expect(form.get_by_role("status")).to_have_text("temperature_c: 26 % from the left, 30 % from the top.")
    form.get_by_role("button", name="Done").click()
    page.get_by_role("toolbar").get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    expect(page.locator("main section .value").filter(has_text="9.5 °C")).to_be_visible()
    (only,) = widgets(server, made)[0]["options"]["pins"]
    assert (only["x"], only["y"], only["device"]) == (26, 30, "cellar")


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\xcc" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
