"""Water: what flowed through the meters, whose they are, and what it costs."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.furnishing import take_in_meter
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def last_month() -> tuple[datetime, datetime]:
    """Where last month began, and where it ended."""
    end = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (end.replace(year=end.year - 1, month=12) if end.month == 1 else end.replace(month=end.month - 1)), end


def test_a_month_is_billed_by_the_steps_of_a_tariff_that_was_typed_in(
    visit: Visit, server: RunningServer, tmp_path: Path
) -> None:
    meter = take_in_meter(server, "BILL-1", "=Garden")
    begin, end = (round(one.timestamp() * 1000) for one in last_month())
    # 15 m³ in the whole of last month, a part of it on its last day; 2 m³ since.
    steps = [(begin, 0), (begin + 86_400_000, 9_000), (end - 3_600_000, 15_000), (end + 60_000, 17_000)]
    lines = [json.dumps({"device": meter, "ts": ts, "values": {"totalLiters": litres}}) for ts, litres in steps]
    took = server.api.post("/api/v1/imports?format=jsonl", content="\n".join(lines).encode())
    assert took.json()["points"] == 4, took.text

    page = visit()
    page.goto("/ui/water/tariffs")
    page.get_by_role("button", name="Add a tariff").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("House")
    dialog.get_by_label("Short name").fill("house")
    dialog.get_by_label("Currency").fill("PEN")
    dialog.get_by_label("Basic charge a month").fill("10")
    dialog.get_by_label("Taxes, percent").fill("18")
    dialog.get_by_label("Up to, m³").fill("10")
    dialog.get_by_label("Price for each m³").nth(0).fill("2")
    dialog.get_by_label("Price for each m³").nth(1).fill("5")
    # 10 + 10 * 2 + 5 * 5, and 18 % on it: reckoned here while one types, and by the server afterwards.
    expect(dialog.get_by_text("15 m³ in a month cost")).to_contain_text("64.90")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("main").get_by_role("listitem").filter(has_text="House")).to_contain_text("64.90")

    page.goto("/ui/water/customers")
    page.get_by_role("button", name="Add a customer").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Ana Pérez")
    dialog.get_by_label("Tariff").select_option("House")
    dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("main").get_by_role("listitem").filter(has_text="Ana Pérez")
    expect(row).to_contain_text("0 meters")
    (customer,) = server.api.get("/api/v1/customers").json()["items"]
    server.api.patch(f"/api/v1/devices/{meter}", json={"attributes": {"id_cliente": customer["id"]}})
    page.reload()
    expect(row).to_contain_text("BILL-1")

    page.goto("/ui/water/bills")
    page.get_by_role("button", name="The month before").click()
    row = page.get_by_role("row").filter(has_text="Garden")
    expect(row).to_contain_text("15.00 m³")
    expect(row).to_contain_text("64.90")
    expect(row).to_contain_text("Ana Pérez")
    with page.expect_download() as begun:
        page.get_by_role("button", name="Download as CSV").click()
    begun.value.save_as(tmp_path / "bills.csv")
    (bill,) = csv.DictReader(io.StringIO((tmp_path / "bills.csv").read_text()))
    # A name that a spreadsheet would run stays a name.
    assert bill["meter"] == "'=Garden"
    assert (bill["litres"], bill["total"], bill["currency"]) == ("15000", "64.9", "PEN")


def test_meters_are_listed_with_what_flows_now(visit: Visit, server: RunningServer) -> None:
    meter = take_in_meter(server, "FLOW-1", "Tower")
    page = visit()
    page.goto("/ui/water")
    row = page.get_by_role("listitem").filter(has_text="Tower")
    expect(row).to_contain_text("FLOW-1")
    page.locator("header [role=status].live").wait_for()
    server.api.post(f"/api/v1/devices/{meter}/telemetry", json={"totalLiters": 100.0, "flowLmin": 7.5})
    expect(row).to_contain_text("7.5 L/min")
