"""What an administrator sees of the server, and changes of it."""

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def test_a_backup_is_made_seen_taken_home_and_deleted(visit: Visit, server: RunningServer, tmp_path: Path) -> None:
    page = visit()
    page.goto("/ui/system/backups")
    page.get_by_role("button", name="Make a backup now").click()
    row = page.get_by_role("main").get_by_role("listitem")
    expect(row).to_have_count(1)
    with page.expect_download() as begun:
        row.get_by_role("link", name="Download").click()
    kept = tmp_path / begun.value.suggested_filename
    begun.value.save_as(kept)
    assert zipfile.ZipFile(kept).testzip() is None
    # The command names the file that is there.
    expect(page.locator("main pre")).to_contain_text(f"relevo restore {kept.name}")
    row.get_by_role("button", name=f"Remove: {kept.name}").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    assert server.api.get("/api/v1/system/backups").json()["items"] == []


def test_retention_is_said_for_a_key_and_taken_back(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/system/storage")
    page.get_by_role("button", name="Keep something else").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Value").fill("humidity")
    dialog.get_by_label("Single readings").fill("30")
    dialog.get_by_label("Hourly figures").fill("7")
    dialog.get_by_role("button", name="Save").click()
    # Coarser figures have to outlive finer ones; the server says so and nothing is lost of what was typed.
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Hourly figures").fill("365")
    dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="humidity")
    expect(row).to_contain_text("30 days")
    (kept,) = server.api.get("/api/v1/retention").json()["items"]
    assert (kept["type"], kept["key"], kept["raw_days"]) == ("", "humidity", 30)
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_settings_say_where_they_came_from_and_keep_secrets(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/system/settings")
    page.get_by_label("Search the settings").fill("RELEVO_PROFILE")
    row = page.get_by_role("main").get_by_role("listitem")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("lab")
    expect(row).to_contain_text("environment")
    page.get_by_label("Search the settings").fill("admin_password")
    expect(row).to_contain_text("set, not shown")


def test_open_doors_are_explained(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/system/switches")
    row = page.get_by_role("main").get_by_role("listitem").filter(has_text="anonymous_mqtt")
    expect(row).to_contain_text("open")
    expect(row).to_contain_text("RELEVO_ANONYMOUS_MQTT")
    expect(row).to_contain_text("without an account")


def test_signing_keys_are_changed_without_signing_anybody_out(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/system/keys")
    rows = page.get_by_role("main").get_by_role("listitem")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Sign with a new key").click()
    expect(rows.first).to_contain_text("In force")
    expect(page.get_by_text("Tokens are signed with a new key")).to_be_visible()
    page.reload()
    expect(rows.first).to_contain_text("In force")
