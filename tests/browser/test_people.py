"""Accounts, people and what is shared with them; the audit log; and what programs may copy from the page."""

import os
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.browser.test_signing_in import sign_in
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.browser


def test_a_new_person_sees_what_is_shared_and_may_do_no_more(visit: Visit, server: RunningServer) -> None:
    server.register("tank", name="Tank")
    server.register("secret", name="Secret")
    assert server.api.patch("/api/v1/devices/tank", json={"site": "Farm"}).status_code == 200
    page = visit()
    page.goto("/ui/people")
    page.get_by_role("button", name="Add a person").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").fill("ana")
    dialog.get_by_label("Name", exact=True).fill("Ana Pérez")
    dialog.get_by_label("First password").fill("password")
    dialog.get_by_role("button", name="Add").click()
    # What the server has against it stands where it was typed.
    expect(dialog.locator(".field.wrong").get_by_label("First password")).to_be_visible()
    dialog.get_by_label("First password").fill("walks the dog at 7")
    dialog.get_by_role("button", name="Add").click()
    expect(page.get_by_role("listitem").filter(has_text="Ana Pérez")).to_be_visible()

    page.get_by_role("button", name="Share something").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("With whom").select_option("ana")
    dialog.get_by_label("Which").fill("Farm")
    dialog.get_by_role("button", name="Share something").click()
    expect(page.get_by_role("region", name="What is shared").get_by_role("listitem")).to_contain_text("Farm")

    theirs = visit(signed_in=False)
    theirs.goto("/ui/devices")
    theirs.get_by_label("User name").fill("ana")
    theirs.get_by_label("Password").fill("walks the dog at 7")
    theirs.get_by_role("button", name="Sign in").click()
    expect(theirs.get_by_role("row").filter(has_text="Tank")).to_be_visible()
    expect(theirs.get_by_role("row").filter(has_text="Secret")).to_have_count(0)
    expect(theirs.get_by_role("link", name="People")).to_have_count(0)
    theirs.goto("/ui/people")
    expect(theirs.get_by_role("heading", name="There is no such page")).to_be_visible()

    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("The share is taken back.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("region", name="What is shared").get_by_role("listitem")).to_contain_text("Farm")


def test_a_person_is_erased_only_after_their_name_was_typed(visit: Visit, server: RunningServer) -> None:
    made = server.api.post("/api/v1/users", json={"name": "leaver", "role": "viewer", "password": "walks the dog at 7"})
    assert made.status_code == 201
    page = visit()
    page.goto("/ui/people")
    page.get_by_role("button", name="More actions: leaver").click()
    page.get_by_role("menuitem", name="Remove and erase the name").click()
    dialog = page.get_by_role("dialog")
    button = dialog.get_by_role("button", name="Remove and erase the name")
    expect(button).to_be_disabled()
    dialog.get_by_label("Type “leaver” to confirm").fill("leaver")
    button.click()
    expect(page.get_by_role("listitem").filter(has_text="leaver")).to_have_count(0)
    assert server.api.get("/api/v1/users/leaver").status_code == 404
    audit = server.api.get("/api/v1/audit", params={"action": "user.erase"}).json()["items"]
    assert [one["target"] for one in audit] == ["erased"]


def test_a_site_gets_the_clocks_of_its_place(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/people")
    page.get_by_role("button", name="Add a site").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Lima")
    dialog.get_by_label("Time zone").fill("America/Nowhere")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".problem")).to_be_visible()
    dialog.get_by_label("Time zone").fill("America/Lima")
    dialog.get_by_label("Latitude (degrees)").fill("-12,05")
    dialog.get_by_label("Longitude (degrees)").fill("-77.04")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text="Lima")).to_contain_text("America/Lima")
    (site,) = (one for one in server.api.get("/api/v1/sites").json()["items"] if one["name"] == "Lima")
    assert (site["zone"], site["lat"], site["lon"]) == ("America/Lima", -12.05, -77.04)


def test_a_key_is_shown_once_works_and_is_revoked(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/account")
    page.get_by_role("button", name="Make a key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("What is it for?").fill("Spreadsheet")
    dialog.get_by_role("button", name="Make it").click()
    key = page.get_by_role("dialog").locator("code").inner_text()
    asking = {"headers": {"Authorization": f"Bearer {key}"}, "trust_env": False}
    assert httpx.get(f"{server.http}/api/v1/devices", **asking).status_code == 200  # type: ignore[arg-type]
    page.get_by_role("button", name="I have kept it").click()
    row = page.get_by_role("listitem").filter(has_text="Spreadsheet")
    expect(row).to_contain_text("Read")
    page.reload()
    expect(row).to_be_visible()
    assert key not in page.content()
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    assert httpx.get(f"{server.http}/api/v1/devices", **asking).status_code == 401  # type: ignore[arg-type]


def test_another_session_is_signed_out_from_here(visit: Visit, server: RunningServer) -> None:
    other = visit(signed_in=False)
    other.goto("/ui/")
    sign_in(other, ADMIN_PASSWORD)
    wait_live(other)
    page = visit()
    page.goto("/ui/account")
    row = page.get_by_role("region", name="Where you are signed in").get_by_role("listitem").filter(has_text="Chrome")
    row.get_by_role("button", name="Sign out there").first.click()
    expect(page.get_by_text("Signed out there.")).to_be_visible()
    other.goto("/ui/")
    expect(other.get_by_label("Password")).to_be_visible()


def test_the_audit_log_is_filtered_by_its_address(visit: Visit, server: RunningServer) -> None:
    server.register("audited")
    page = visit()
    page.goto("/ui/audit?action=device.create&target=audited")
    rows = page.get_by_role("region", name="Audit log").get_by_role("row")
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("audited")
    page.get_by_label("To what").fill("nobody-at-all")
    expect(page.get_by_role("status").filter(has_text="Nothing of this kind happened.")).to_be_visible()
    assert "target=nobody-at-all" in page.url


@pytest.fixture(scope="module")
def key(server: RunningServer) -> str:
    made = server.api.post("/api/v1/keys", json={"name": "samples", "scopes": ["manage"]})
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def copied(page: Page) -> str:
    return page.get_by_role("region", name="What do you want to do?").locator("pre code").inner_text()


@pytest.mark.parametrize("tongue", ["curl", "Python", "JavaScript"])
@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("Read the latest values", "humidity"),
        ("Read the history of a value", "points"),
        ("Send a reading", "stored"),
        ("List the devices", "it's sampled"),
    ],
)
def test_what_is_copied_from_the_page_runs_as_it_is(
    visit: Visit, server: RunningServer, key: str, tongue: str, task: str, told: str
) -> None:
    # A name and an id that would break a careless quotation.
    if server.api.get("/api/v1/devices/samp.led").status_code == 404:
        server.register("samp.led", name="it's sampled")
        server.api.post("/api/v1/devices/samp.led/telemetry", json={"humidity": 50})
    page = visit()
    page.goto("/ui/api?device=samp.led")
    page.get_by_role("combobox", name="What do you want to do?").select_option(task)
    page.get_by_role("button", name=tongue).click()
    text = copied(page)
    command = {
        "curl": ["bash", "-c", text],
        "Python": [sys.executable, "-c", text],
        "JavaScript": ["node", "--input-type=module", "-e", text],
    }[tongue]
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env | {"RELEVO_KEY": key})
    assert done.returncode == 0, done.stderr
    assert told in done.stdout, done.stdout
