"""A week is painted, by hand and by keyboard, and the server keeps what was painted; runs are told before and done."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def choose_device(page: Page, device: str) -> None:
    page.get_by_role("combobox", name="Device", exact=True).fill(device)
    page.get_by_role("option", name=re.compile(device)).first.click()


def made(server: RunningServer, name: str) -> dict[str, Any]:
    (found,) = server.api.get("/api/v1/schedules", params={"search": name}).json()["items"]
    return dict(found)


def test_a_week_painted_by_keyboard_is_what_the_server_keeps(server: RunningServer, visit: Visit) -> None:
    server.register("lamp", name="Lamp")
    server.api.post("/api/v1/devices/lamp/telemetry", json={"values": {"relay_1": False}}).raise_for_status()
    page = visit(timezone_id="Europe/Madrid")
    page.goto("/ui/schedule/new")
    page.get_by_label("Name", exact=True).fill("Painted")
    page.get_by_role("gridcell", name="Monday, 08:00 to 09:00").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.get_by_role("gridcell", name="Tuesday, 10:00 to 11:00")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("status").filter(has_text="3 hours a week")).to_be_visible()
    coming = page.get_by_role("region", name="The next runs")
    expect(coming.get_by_role("listitem")).to_have_count(5)
    expect(coming).to_contain_text("begins")
    expect(coming).to_contain_text("Europe/Madrid")
    choose_device(page, "lamp")
    page.get_by_label("Relay or switch").fill("relay_1")
    page.get_by_role("button", name="Save the schedule").click()
    expect(page).to_have_url(re.compile(r"/ui/schedule/(?!new)"))
    kept = made(server, "Painted")
    assert kept["zone"] == "Europe/Madrid"
    windows = kept["timing"]["windows"]
    assert [(one["days"], one["from"], one["to"]) for one in windows] == [
        (["mon"], "09:00", "11:00"),
        (["tue"], "10:00", "11:00"),
    ]
    assert kept["action"]["desired"] == {"device": "lamp", "values": {"relay_1": True}}
    assert kept["end_action"]["desired"] == {"device": "lamp", "values": {"relay_1": False}}


@pytest.mark.parametrize("width", [390, 1280])
def test_a_drag_paints_and_a_second_one_wipes(server: RunningServer, visit: Visit, width: int) -> None:
    page = visit(viewport={"width": width, "height": 1400})
    page.goto("/ui/schedule/new")
    first, last = (
        page.get_by_role("gridcell", name=f"Friday, {hour}") for hour in ("18:00 to 19:00", "21:00 to 22:00")
    )
    for held in ("true", "false"):
        # Away from the bar at a phone's lower edge.
        first.evaluate("cell => cell.scrollIntoView({ block: 'center' })")
        begin, end = first.bounding_box(), last.bounding_box()
        assert begin is not None and end is not None
        page.mouse.move(begin["x"] + begin["width"] / 2, begin["y"] + begin["height"] / 2)
        page.mouse.down()
        page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=12)
        page.mouse.up()
        for hour in ("18:00 to 19:00", "19:00 to 20:00", "20:00 to 21:00", "21:00 to 22:00"):
            expect(page.get_by_role("gridcell", name=f"Friday, {hour}")).to_have_attribute("aria-selected", held)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_a_finger_paints_without_moving_the_page(server: RunningServer, visit: Visit) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto("/ui/schedule/new")
    hours = ("09:00 to 10:00", "10:00 to 11:00", "11:00 to 12:00")
    cells = [page.get_by_role("gridcell", name=f"Wednesday, {hour}") for hour in hours]
    cells[1].scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 200)")
    boxes = [cell.bounding_box() for cell in cells]
    before = page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)
    points = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2} for box in boxes if box is not None]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    for cell in cells:
        expect(cell).to_have_attribute("aria-selected", "true")
    assert page.evaluate("scrollY") == before


def test_other_kinds_are_foreseen_and_wrong_ones_are_told(server: RunningServer, visit: Visit) -> None:
    server.register("valve", name="Valve")
    page = visit(timezone_id="America/Lima")
    page.goto("/ui/schedule/new")
    page.get_by_label("Name", exact=True).fill("Crontab")
    coming = page.get_by_role("region", name="The next runs")
    page.get_by_role("button", name="By the sun").click()
    page.get_by_label("Latitude").fill("-12,05")
    page.get_by_label("Longitude").fill("-77,04")
    expect(coming.get_by_role("listitem")).to_have_count(5)
    page.get_by_role("button", name="Cron", exact=True).click()
    page.get_by_label("Cron expression").fill("30 6 * *")
    expect(coming).to_contain_text("4 fields instead of 5")
    page.get_by_label("Cron expression").fill("30 6 * * *")
    expect(coming).to_contain_text("06:30")
    page.get_by_role("button", name="Send a command").click()
    choose_device(page, "valve")
    page.get_by_label("Command", exact=True).fill("open")
    page.get_by_label("Parameters (JSON)").fill('{"minutes": 10')
    expect(page.get_by_text("This is not valid JSON.")).to_be_visible()
    page.get_by_label("Parameters (JSON)").fill('{"minutes": 10}')
    page.get_by_role("button", name="Save the schedule").click()
    expect(page).to_have_url(re.compile(r"/ui/schedule/(?!new)"))
    kept = made(server, "Crontab")
    assert kept["timing"] == {"kind": "cron", "expression": "30 6 * * *"}
    assert kept["action"]["command"]["params"] == {"minutes": 10}

    page.get_by_role("link", name="All schedules").click()
    row = page.get_by_role("listitem").filter(has_text="Crontab")
    expect(row).to_contain_text("sends “open” to Valve")
    row.get_by_role("button", name="Run now").click()
    expect(page.get_by_text("One command was asked for.")).to_be_visible()
    assert server.api.get("/api/v1/devices/valve/commands").json()["items"][0]["name"] == "open"
    row.get_by_role("switch").click()
    expect(row).to_contain_text("Switched off")
    assert made(server, "Crontab")["enabled"] is False
