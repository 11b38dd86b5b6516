"""A real Chromium looking at a real server; whatever it should not have done is noted and told after each test."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.browser.furnishing import furnish
from tests.running import REPOSITORY, RunningServer

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip

# What a page shows in a moment takes longer where three others test beside it.
expect.set_options(timeout=20_000)

# A violation is reported to the page before the console hears of it, and the console's words are not fixed.
_TELL_VIOLATIONS = """
addEventListener('securitypolicyviolation', (event) =>
  console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Conduct:
    """What pages did that they must never do."""

    hosts: set[str] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.add_init_script(_TELL_VIOLATIONS)
        context.on("request", self._requested)
        context.on("weberror", lambda told: self.errors.append(f"page error: {told.error}"))
        context.on("console", lambda told: self._said(told.type, told.text))

    def _requested(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.netloc not in self.hosts:
            self.foreign.append(request.url)

    def _said(self, kind: str, text: str) -> None:
        # Chromium itself calls every refused or failed request an error; those are part of what is tested.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.errors.append(f"console: {text}")

    def verify(self) -> None:
        foreign, errors = self.foreign[:], self.errors[:]
        self.foreign.clear()
        self.errors.clear()
        assert not foreign, "requests to other hosts"
        assert not errors, "errors of pages"


# Not for the session: while Playwright's loop is there, no other test of this process could run one.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    if not (REPOSITORY / "relevo/web/static/index.html").exists():
        pytest.skip("the interface is not built: make interface")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The lab profile; the browser comes first so that nothing is started for tests that will be skipped."""
    with RunningServer(tmp_path_factory.mktemp("browser") / "data", env={"RELEVO_PROFILE": "lab"}) as running:
        yield running


@pytest.fixture(scope="module")
def furnished(server: RunningServer) -> RunningServer:
    """The server of this module with something of everything, with names and values as long as people make them."""
    furnish(server)
    return server


@pytest.fixture
def conduct() -> Iterator[Conduct]:
    noted = Conduct()
    yield noted
    noted.verify()


# What Browser.new_context takes -> a page of a browser that has never been here
Visit = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, server: RunningServer, conduct: Conduct) -> Iterator[Visit]:
    """Opens pages as somebody new; ``signed_in=True`` as the administrator, in English unless ``locale`` says more."""
    contexts: list[BrowserContext] = []
    conduct.hosts.add(urlsplit(server.http).netloc)

    def open_page(*, signed_in: bool = True, **options: object) -> Page:
        # What moves is drawn by the processor here, in every page that is open.
        usual = {"base_url": server.http, "locale": "en-GB", "reduced_motion": "reduce"}
        context = chromium.new_context(**{**usual, **options})  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(10_000)
        conduct.watch(context)
        if signed_in:
            context.add_cookies([{"name": "relevo_session", "value": server.cookie, "url": server.http}])
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def home(visit: Visit) -> Page:
    """The list of devices, live."""
    page = visit()
    page.goto("/ui/")
    wait_live(page)
    return page


def wait_live(page: Page) -> None:
    """Until the stream is open: what is sent from now on is seen live."""
    page.locator("header [role=status].live").wait_for()


needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients is not installed"
)
