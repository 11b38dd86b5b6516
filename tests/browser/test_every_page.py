"""What holds for all pages: they are small, and they talk to nobody else."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Conduct, Visit, wait_live
from tests.browser.looking import choose_language
from tests.running import RunningServer

pytestmark = pytest.mark.browser

FIRST_PAGE_BYTES = 250_000


def test_the_choice_of_language_and_theme_is_kept(visit: Visit, furnished: RunningServer) -> None:
    # A page that was left at once may have taken its last choice along.
    furnished.api.patch("/api/v1/me/preferences", json={"theme": "auto", "language": "en"}).raise_for_status()
    page = visit(color_scheme="dark")
    page.goto("/ui/")
    choose_language(page, "pt")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("header button.icon[aria-label*=':']").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.reload()
    expect(page.get_by_role("link", name="Dispositivos", exact=True).first).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_the_first_page_weighs_less_than_250_kb(visit: Visit, furnished: RunningServer) -> None:
    page = visit()
    page.goto("/ui/")
    wait_live(page)
    page.locator("article .value").first.wait_for()
    entries = page.evaluate(
        "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(({ name, transferSize, encodedBodySize, decodedBodySize }) =>"
        " ({ name, transferSize, encodedBodySize, decodedBodySize }))"
    )
    print(json.dumps(entries, indent=1))
    assert len(entries) >= 4
    assert sum(one["transferSize"] for one in entries) < FIRST_PAGE_BYTES
    scripts = [one for one in entries if "/assets/" in one["name"]]
    assert scripts
    assert all(one["encodedBodySize"] < one["decodedBodySize"] for one in scripts)


def test_the_api_viewer_asks_no_other_host_and_breaks_no_policy(visit: Visit, conduct: Conduct) -> None:
    # Every other page is watched for it wherever it is opened.
    page = visit()
    page.goto("/docs")
    page.get_by_text("/api/v1/devices").first.wait_for(timeout=40_000)
    conduct.verify()


def test_a_violation_would_be_noticed(visit: Visit, furnished: RunningServer, conduct: Conduct) -> None:
    page = visit()
    page.goto("/ui/")
    page.evaluate(
        """() => new Promise((done) => {
            addEventListener('securitypolicyviolation', done, { once: true });
            const image = document.createElement('img');
            image.src = 'http://elsewhere.invalid/dot.png';
            document.body.append(image);
        })"""
    )
    with pytest.raises(AssertionError):
        conduct.verify()
