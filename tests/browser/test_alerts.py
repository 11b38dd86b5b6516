"""Alerts are found by state, severity and device, resolved with a note; who may only look changes nothing."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser

PASSWORD = "a-long-enough-one"


@pytest.fixture(scope="module")
def alarmed(server: RunningServer) -> RunningServer:
    """Two devices, each with an alert of its own severity."""
    for device, severity in (("boiler", "critical"), ("cellar", "info")):
        server.register(device, name=device.capitalize())
        condition = {"value": {"key": "t", "op": ">", "than": 50}}
        alert = {"alert": {"severity": severity, "text": "{name} is at {t}", "auto_clear": False}}
        rule = {"name": f"Hot {device}", "condition": condition, "scope": {"devices": [device]}, "actions": [alert]}
        server.api.post("/api/v1/rules", json=rule).raise_for_status()
        for value in (20, 60):
            server.api.post(f"/api/v1/devices/{device}/telemetry", json={"values": {"t": value}}).raise_for_status()
    return server


def test_alerts_are_filtered_by_the_address_and_resolved(alarmed: RunningServer, visit: Visit) -> None:
    page = visit()
    page.goto("/ui/alerts")
    wait_live(page)
    rows = page.locator("main").get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(page.get_by_role("navigation", name="Sections").get_by_role("link", name="Alerts 2")).to_be_visible()
    page.get_by_label("Severity").select_option("critical")
    expect(page).to_have_url(re.compile("severity=critical"))
    expect(rows).to_have_count(1)
    page.reload()
    expect(rows).to_have_count(1)
    rows.first.get_by_role("button", name="Resolve").click()
    page.get_by_label("Note").fill("Valve replaced")
    page.get_by_role("dialog").get_by_role("button", name="Resolve").click()
    expect(page.get_by_text("No alert matches.")).to_be_visible()
    expect(page.get_by_role("navigation", name="Sections").get_by_role("link", name="Alerts 1")).to_be_visible()
    page.get_by_role("button", name="Ended", exact=True).click()
    expect(rows.first).to_contain_text("Valve replaced")
    expect(rows.first.get_by_role("button", name="Resolve")).to_have_count(0)
    page.goto("/ui/alerts?device=cellar&state=all")
    expect(rows).to_have_count(1)
    expect(page.get_by_text("Only of Cellar")).to_be_visible()


def test_a_viewer_looks_and_changes_nothing(alarmed: RunningServer, visit: Visit) -> None:
    alarmed.api.post("/api/v1/users", json={"name": "watcher", "password": PASSWORD, "role": "viewer"})
    alarmed.api.post("/api/v1/devices/cellar/grants", json={"account": "watcher"}).raise_for_status()
    answer = httpx.post(
        f"{alarmed.http}/api/v1/auth/login",
        json={"username": "watcher", "password": PASSWORD},
        headers={"Origin": alarmed.http, "Sec-Fetch-Site": "same-origin"},
        trust_env=False,
    )
    page = visit(signed_in=False)
    cookie = {"name": "relevo_session", "value": answer.cookies["relevo_session"], "url": alarmed.http}
    page.context.add_cookies([cookie])  # type: ignore[list-item]
    page.goto("/ui/alerts?state=all")
    row = page.locator("main").get_by_role("listitem")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Cellar is at 60")
    expect(row.get_by_role("button")).to_have_text(["Its story"])
    expect(page.get_by_role("link", name="Rules")).to_have_count(0)
