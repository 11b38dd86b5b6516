"""Charts: any time is a drag or a key away, and what they show can be compared, read as figures and taken along."""

import json
import math
import re
import struct
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
PAINTED = """
(canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i]) painted += 1;
  return painted / (canvas.width * canvas.height);
}
"""


@pytest.fixture(scope="module")
def kept(server: RunningServer) -> Iterator[int]:
    """A device with more than a year behind it; the time at which its last reading was."""
    server.register("old", name="Old one")
    end = int(time.time() * 1000)
    rows = [{"ts": end - 400 * DAY + n * 6 * HOUR, "values": {"temperature_c": 15 + n % 9}} for n in range(4 * 399)]
    rows += [
        {
            "ts": end - n * MINUTE,
            "values": {"temperature_c": 20 + math.sin(n), "humidity_pct": 50 + n % 5, "on": n % 9 < 4},
        }
        for n in range(1_440, 0, -1)
    ]
    for first in range(0, len(rows), 1_000):
        server.api.post("/api/v1/devices/old/telemetry", json=rows[first : first + 1_000]).raise_for_status()
    yield end


def chart_of(page: Page, query: str = "") -> Locator:
    page.goto(f"/ui/device/old/charts{query}")
    wait_live(page)
    chart = page.get_by_role("region", name="Chart", exact=True)
    expect(chart.locator(".readout strong").first).to_be_visible()
    return chart


def test_from_a_day_to_a_year_into_an_hour_and_back(visit: Visit, kept: int) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    chart = chart_of(page)
    spans: list[tuple[float, int]] = []

    def note(url: str) -> None:
        query = dict(part.split("=") for part in url.split("?")[1].split("&"))
        spans.append(((int(query["to"]) - int(query["from"])) / DAY, int(query["points"])))

    page.on("request", lambda told: note(told.url) if "points=" in told.url else None)
    with page.expect_response(lambda told: "points=" in told.url) as year:
        chart.get_by_role("button", name="1 year").click()
    assert year.value.json()["source"] in ("hour", "day", "raw")
    assert spans[-1][0] == pytest.approx(365, abs=1)
    pixels = chart.locator("canvas").bounding_box()
    assert pixels is not None
    # As many as there is room for, not as many as there are.
    assert spans[-1][1] <= 2 * pixels["width"]
    page.wait_for_function(f"() => ({PAINTED})(document.querySelector('.chart canvas')) > 0.02")

    over = chart.locator(".u-over").bounding_box()
    assert over is not None
    with page.expect_response(lambda told: "points=" in told.url):
        page.mouse.move(over["x"] + over["width"] * 0.5, over["y"] + 60)
        page.mouse.down()
        page.mouse.move(over["x"] + over["width"] * 0.6, over["y"] + 60, steps=5)
        page.mouse.up()
    assert spans[-1][0] == pytest.approx(36.5, rel=0.1)
    drawing = chart.get_by_role("application")
    drawing.focus()
    with page.expect_response(lambda told: "points=" in told.url):
        for _ in range(8):
            page.keyboard.press("+")
    assert spans[-1][0] == pytest.approx(36.5 / 256, rel=0.1)
    before = len(spans)
    with page.expect_response(lambda told: "points=" in told.url):
        page.keyboard.press("ArrowLeft")
    assert spans[before][0] == pytest.approx(36.5 / 256, rel=0.1)
    # What was one gesture is one step back; the first view is the year again.
    back = chart.get_by_role("button", name="Back to the view before")
    steps = 0
    while back.is_enabled():
        back.click()
        steps += 1
    assert 2 <= steps <= 4
    expect(chart.get_by_role("button", name="1 year")).to_have_attribute("aria-pressed", "true")


def test_everything_and_a_time_of_ones_own(visit: Visit, kept: int) -> None:
    page = visit(timezone_id="UTC")
    chart = chart_of(page)
    with page.expect_response(lambda told: "points=" in told.url) as whole:
        chart.get_by_role("button", name="All", exact=True).click()
    assert whole.value.json()["points"][0][0] == kept - 400 * DAY
    chart.get_by_role("button", name="From – to…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").fill("2026-03-02T00:00:00")
    dialog.get_by_label("To").fill("2026-03-01T00:00:00")
    expect(dialog).to_contain_text("The beginning has to be before the end.")
    dialog.get_by_label("From").fill("2026-02-20T00:00:00")
    with page.expect_response(lambda told: "from=1771545600000&" in told.url) as own:
        dialog.get_by_role("button", name="Show").click()
    assert "to=1772323200001" in own.value.url


def test_several_values_are_read_as_figures(visit: Visit, kept: int) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    chart = chart_of(page, "?key=temperature_c&key=humidity_pct")
    expect(chart.locator(".readout strong")).to_have_count(2)
    chart.get_by_role("button", name="On", exact=True).click()
    expect(chart.locator(".readout strong")).to_have_count(3)
    assert "key=on" in page.url
    chart.get_by_role("button", name="1 h", exact=True).click()
    chart.get_by_label("Show as table").check()
    table = chart.get_by_role("region", name="What the chart shows, newest first")
    expect(table.get_by_role("columnheader")).to_have_text(["Time", "Temperature", "Humidity", "On"])
    row = table.locator("tbody tr").first
    expect(row).to_contain_text("°C")
    expect(row).to_contain_text("%")
    page.wait_for_function("() => document.querySelectorAll('.table tbody tr').length.toString().match(/^(59|60)$/)")


def test_the_period_before_is_drawn_beside(visit: Visit, kept: int) -> None:
    page = visit()
    chart = chart_of(page)
    with page.expect_response(lambda told: "points=" in told.url) as asked:
        chart.get_by_label("Compare with").select_option("week")
    query = dict(part.split("=") for part in asked.value.url.split("?")[1].split("&"))
    assert int(query["to"]) == pytest.approx(time.time() * 1000 - 7 * DAY, abs=2 * MINUTE)
    expect(chart.locator(".readout")).to_contain_text("Temperature, before")
    expect(chart.locator(".readout b")).to_contain_text("°C")


def test_what_happened_is_marked_and_can_be_left_out(visit: Visit, server: RunningServer, kept: int) -> None:
    rule = {
        "name": "Hot",
        "condition": {"value": {"key": "temperature_c", "op": ">", "than": 30}},
        "scope": {"devices": ["old"]},
        "actions": [{"alert": {"severity": "critical", "text": "Too hot in here"}}],
    }
    server.api.post("/api/v1/rules", json=rule).raise_for_status()
    server.api.post("/api/v1/devices/old/telemetry", json={"values": {"temperature_c": 31}}).raise_for_status()
    page = visit()
    chart = chart_of(page)
    mark = chart.get_by_role("group", name="Marks").get_by_role("button").first
    expect(mark).to_be_visible()
    assert "Too hot in here" in (mark.get_attribute("aria-label") or "")
    chart.get_by_label("Alerts").uncheck()
    expect(chart.locator(".strip")).to_have_count(0)
    page.reload()
    expect(chart.get_by_label("Alerts")).not_to_be_checked()


def test_the_picture_has_the_chart_with_its_title(visit: Visit, kept: int) -> None:
    page = visit(device_scale_factor=2)
    chart = chart_of(page)
    canvas = chart.locator("canvas").bounding_box()
    assert canvas is not None
    chart.get_by_role("button", name="Download").click()
    with page.expect_download() as told:
        page.get_by_role("menuitem", name="Picture (PNG)").click()
    taken = told.value.path().read_bytes()
    assert told.value.suggested_filename == "Old-one-Temperature.png"
    assert taken[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", taken[16:24])
    assert width == pytest.approx(2 * (canvas["width"] + 32), abs=4)
    assert 2 * (canvas["height"] + 80) < height < 2 * (canvas["height"] + 160)


def test_what_is_shown_can_be_taken_as_a_file(visit: Visit, kept: int) -> None:
    page = visit()
    chart = chart_of(page)
    chart.get_by_role("button", name="1 h", exact=True).click()
    chart.get_by_role("button", name="Download").click()
    with page.expect_download() as told:
        page.get_by_role("menuitem", name="Spreadsheet (CSV)").click()
    lines = told.value.path().read_text().splitlines()
    assert lines[0] == 'time,device,"temperature_c"'
    assert 58 <= len(lines) <= 63
    chart.get_by_role("button", name="Download").click()
    with page.expect_download() as told:
        page.get_by_role("menuitem", name="JSON lines").click()
    last = json.loads(told.value.path().read_text().splitlines()[-1])
    assert last["end"] is True


def test_every_reading_is_drawn_when_somebody_wants_it(visit: Visit, kept: int) -> None:
    page = visit()
    chart = chart_of(page)
    with page.expect_response(lambda told: "limit=10000" in told.url):
        chart.get_by_label("Every reading").check()
    count = chart.get_by_text("Readings", exact=True).locator("xpath=following-sibling::dd")
    expect(count).to_have_text(re.compile(r"^1,4\d\d$"))


def span_of(address: str) -> int:
    """Milliseconds from the beginning to the end that were asked for."""
    query = parse_qs(urlsplit(address).query)
    return int(query["to"][0]) - int(query["from"][0])


def test_a_finger_moves_and_two_zoom(visit: Visit, kept: int) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    chart = chart_of(page)
    chart.locator(".u-over").scroll_into_view_if_needed()
    box = chart.locator(".u-over").bounding_box()
    assert box is not None
    left, middle, y = box["x"] + 30, box["x"] + box["width"] / 2, box["y"] + 100
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *xs: float) -> None:
        points = [{"x": x, "y": y, "id": n} for n, x in enumerate(xs)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", left)
    for n in range(1, 6):
        fingers("touchMove", left + n * 20)
    fingers("touchEnd")
    expect(chart.get_by_role("button", name="Later", exact=True)).to_be_enabled()
    # What the first finger asked for may still be on its way.
    with page.expect_request(lambda told: "points=" in told.url and span_of(told.url) < DAY / 2):
        fingers("touchStart", middle - 10, middle + 10)
        for n in range(1, 8):
            fingers("touchMove", middle - 10 - n * 10, middle + 10 + n * 10)
        fingers("touchEnd")
