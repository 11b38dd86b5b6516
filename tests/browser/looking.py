"""Looks at one page as every person might meet it."""

from typing import Final

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.pages import MADE, PAGES
from tests.running import REPOSITORY, RunningServer

LANGUAGES: Final = ["en", "es", "pt"]
WIDTHS: Final = (390, 1280)
AXE: Final = REPOSITORY / "interface/node_modules/axe-core/axe.min.js"

# Elements that are cut off on purpose do not widen the page; the page itself must not scroll.
OVERFLOW: Final = """
() => {
  const room = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth <= room) return [];
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > room + 0.5)
    .map((element) => `${element.tagName}.${element.className} ${element.textContent.trim().slice(0, 40)}`);
}
"""

# What WCAG 2.2 AA asks for, and axe's own good practice, without anything left out.
VIOLATIONS: Final = """
async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
  .map(({ id, help, nodes }) => [id, help, nodes.map((node) => node.html.slice(0, 200))])
"""


def choose_language(page: Page, code: str) -> None:
    page.locator(".language select").select_option(code)
    expect(page.locator("html")).to_have_attribute("lang", code)


def look(visit: Visit, server: RunningServer, name: str) -> None:
    """Page ``name`` fits a phone and a desk and is accessible, in every language and theme; names stay text."""
    address, ready = PAGES[name]
    # Whatever the page before chose is kept for the person.
    server.api.patch("/api/v1/me/preferences", json={"theme": "auto", "language": "en"}).raise_for_status()
    # Colours that are on their way from one to another have no contrast to judge.
    page = visit(signed_in=name != "sign-in", viewport={"width": WIDTHS[0], "height": 844}, reduced_motion="reduce")
    page.goto(address.format_map(MADE))
    page.locator(ready).first.wait_for()
    assert page.locator("img[src=x]").count() == 0, f"{name} takes a name for markup"
    page.evaluate(AXE.read_text())
    theme = page.locator("header button.icon[aria-label*=':']")
    themes = set()
    # Room is a matter of width and language, colour one of the theme: each is seen in all of its own.
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        theme.click()
        themes.add(page.locator("html").get_attribute("data-theme"))
        for code in LANGUAGES:
            choose_language(page, code)
            wide = page.evaluate(OVERFLOW)
            assert wide == [], f"{name} at {width} in {code}: {wide}"
        violations = page.evaluate(VIOLATIONS)
        assert violations == [], f"{name} at {width}: {violations}"
    assert themes == {"light", "dark"}
