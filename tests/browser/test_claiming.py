"""From a label to a device of one's own: what a person does with a phone after scanning the QR code."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.test_signing_in import sign_in
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.browser


def code_for(server: RunningServer, serial: str) -> str:
    answer = server.api.post("/api/v1/claim-codes", json={"contract": "hidrometro", "external_id": serial})
    assert answer.status_code == 201, answer.text
    code: str = answer.json()["code"]
    return code


def test_a_scanned_label_leads_through_signing_in_to_the_device(visit: Visit, server: RunningServer) -> None:
    code = code_for(server, "SCANNED-1")
    page: Page = visit(signed_in=False, viewport={"width": 390, "height": 800})
    page.goto(f"/ui/claim?contract=hidrometro&serial=SCANNED-1&code={code}")
    sign_in(page, ADMIN_PASSWORD)
    expect(page.get_by_text("The label says SCANNED-1")).to_be_visible()
    expect(page.get_by_label("Code")).to_have_value(code)
    page.get_by_label("Name").fill("Garden meter")
    page.get_by_role("button", name="Make it mine").click()
    expect(page.get_by_role("heading", name="Garden meter")).to_be_visible()
    # The code is out of the address and of the way back.
    assert code not in page.url
    (device,) = server.api.get("/api/v1/devices", params={"search": "SCANNED-1"}).json()["items"]
    assert (device["name"], device["owner"]) == ("Garden meter", "admin")


def test_a_typed_code_may_be_written_as_people_write(visit: Visit, server: RunningServer) -> None:
    code = code_for(server, "TYPED-1")
    page = visit()
    page.goto("/ui/")
    page.get_by_role("link", name="Claim a device with the code on its label").click()
    page.get_by_label("Code").fill("WRNG-CDE2-3456-789")
    page.get_by_role("button", name="Make it mine").click()
    expect(page.get_by_role("alert")).to_contain_text("This code fits no device")
    page.get_by_label("Code").fill(code.lower().replace("-", " "))
    page.get_by_role("button", name="Make it mine").click()
    expect(page.get_by_role("heading", name="TYPED-1")).to_be_visible()
