"""How a person gets in, and what a home without devices says."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.browser


def sign_in(page: Page, password: str) -> None:
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_wrong_password_says_so_and_the_right_one_signs_in(visit: Visit) -> None:
    page = visit(signed_in=False)
    page.goto("/ui/")
    sign_in(page, "guessed")
    expect(page.get_by_role("alert")).to_have_text("User name or password is not right.")
    expect(page.get_by_label("Password")).to_have_value("")
    sign_in(page, ADMIN_PASSWORD)
    expect(page.get_by_role("link", name="Devices", exact=True).first).to_be_visible()
    wait_live(page)
    page.reload()
    wait_live(page)


def test_signing_in_leads_to_the_page_that_was_asked_for(visit: Visit, server: RunningServer) -> None:
    page = visit(signed_in=False)
    page.goto("/ui/door")
    sign_in(page, ADMIN_PASSWORD)
    expect(page.get_by_role("heading", name="Door", exact=True)).to_be_visible()


def test_signing_out_closes_the_page_also_for_the_back_button(visit: Visit) -> None:
    page = visit()
    page.goto("/ui/")
    wait_live(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto("/ui/door")
    expect(page.get_by_label("Password")).to_be_visible()


def test_the_link_in_the_log_signs_in_once(visit: Visit, server: RunningServer) -> None:
    found = re.findall(r"/ui/enter/\S+", server.log.read_text())
    assert len(found) == 1
    first = visit(signed_in=False)
    first.goto(found[0])
    wait_live(first)
    assert first.url == f"{server.http}/ui/"
    second = visit(signed_in=False)
    second.goto(found[0])
    expect(second.get_by_label("Password")).to_be_visible()
    assert second.context.cookies() == []


def test_an_invented_link_signs_nobody_in(visit: Visit) -> None:
    page = visit(signed_in=False)
    page.goto("/ui/enter/AAAAAAAAAAAAAAAAAAAAAAAA")
    expect(page.get_by_label("Password")).to_be_visible()


def test_an_empty_home_shows_four_ways_to_begin(home: Page) -> None:
    expect(home.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    for way in (
        "Flash and pair a new board",
        "A board that already speaks",
        "Scan a label",
        "Try it with demo devices",
    ):
        expect(home.get_by_role("link", name=way)).to_be_visible()
