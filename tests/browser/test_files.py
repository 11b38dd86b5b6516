"""History leaves and comes in as files, by hand."""

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.running import RunningServer

pytestmark = pytest.mark.browser

MIDNIGHT = 1_767_225_600_000


def test_a_device_is_exported_as_a_table(visit: Visit, server: RunningServer, tmp_path: Path) -> None:
    server.register("shed", name="Shed")
    rows = [{"ts": MIDNIGHT + n * 60_000, "values": {"t": n, "h": 50 + n}} for n in range(30)]
    assert server.api.post("/api/v1/devices/shed/telemetry", json=rows).json()["stored"] == 30
    page = visit(timezone_id="America/Lima")
    page.goto("/ui/files?device=shed")
    export = page.get_by_role("region", name="Export")
    expect(export.get_by_role("combobox", name="Device", exact=True)).to_have_value("Shed")
    export.get_by_label("Which values").fill("t")
    # A day by the clocks in Lima, five hours behind.
    export.get_by_label("From").fill("2025-12-31")
    export.get_by_label("Through").fill("2025-12-31")
    with page.expect_download() as begun:
        export.get_by_role("link", name="Download").click()
    begun.value.save_as(tmp_path / "file.csv")
    table = list(csv.reader(io.StringIO((tmp_path / "file.csv").read_text())))
    assert table[0] == ["time", "device", "t"]
    assert [row[2] for row in table[1:]] == [str(n) for n in range(30)]
    assert table[1][0].startswith("2025-12-31T19:00:00.000-05:00")


def test_any_csv_is_imported_and_what_was_left_out_is_named(
    visit: Visit, server: RunningServer, tmp_path: Path
) -> None:
    server.register("roof", name="Roof")
    file = tmp_path / "weather.csv"
    file.write_text("when;T;wind\n2026-01-01 00:00;1,5;3\n2026-01-01 00:10;2,5;4\nyesterday;9;9\n")
    page = visit(timezone_id="America/Lima")
    page.goto("/ui/files")
    part = page.get_by_role("region", name="Import")
    part.get_by_label("File").set_input_files(file)
    part.get_by_label("What is in it").select_option("Any CSV with a line of names")
    part.get_by_role("combobox", name="Readings are of the device").fill("Roo")
    part.get_by_role("option", name="Roof").click()
    part.get_by_label("Column with the time").fill("when")
    part.get_by_label("Decimals stand behind").select_option("a comma")
    part.get_by_label("What is called how here").fill("T=temperature_c")
    part.get_by_role("button", name="Import", exact=True).click()
    expect(part.get_by_text("The file is imported.")).to_be_visible()
    expect(part.get_by_role("row").filter(has_text="yesterday").or_(part.get_by_role("row").nth(1))).to_be_visible()
    points = server.api.get("/api/v1/devices/roof/telemetry/temperature_c").json()["points"]
    assert points == [[MIDNIGHT + 5 * 3_600_000, 1.5], [MIDNIGHT + 5 * 3_600_000 + 600_000, 2.5]]
    # Once more adds nothing.
    part.get_by_role("button", name="Import", exact=True).click()
    repeated = part.get_by_text("Stored already").locator("xpath=..")
    expect(repeated).to_contain_text("2")


def test_a_file_that_is_none_is_refused_in_words(visit: Visit, server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "home-assistant_v2.db"
    file.write_bytes(b"not a database at all" * 100)
    page = visit()
    page.goto("/ui/files")
    part = page.get_by_role("region", name="Import")
    part.get_by_label("File").set_input_files(file)
    expect(part.get_by_label("What is in it")).to_have_value("home-assistant")
    part.get_by_role("button", name="Import", exact=True).click()
    expect(part.locator(".problem")).not_to_be_empty()
    expect(part.get_by_text("The file is imported.")).to_have_count(0)
