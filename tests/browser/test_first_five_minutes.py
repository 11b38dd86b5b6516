"""The first five minutes of somebody new: from the line that the server prints to a relay that is switched."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit, needs_mosquitto, wait_live
from tests.journeys.live import eventually
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """As ``make run`` starts it, without its devices: nobody has chosen a password."""
    env = {"RELEVO_PROFILE": "lab", "RELEVO_ADMIN_PASSWORD": ""}
    with RunningServer(tmp_path_factory.mktemp("minutes") / "data", env=env) as running:
        yield running


def printed_link(server: RunningServer) -> str:
    """The path of the one line that says what to open."""

    def printed() -> list[str]:
        return [line for line in server.log.read_text().splitlines() if line.startswith("open http://")]

    # The doors are open a moment before the person is greeted.
    lines = eventually(printed)
    assert len(lines) == 1, lines
    found = re.match(r"open http://localhost:\d+(/ui/enter/\S+)", lines[0])
    assert found is not None, lines[0]
    return found[1]


@pytest.fixture
def arrived(visit: Visit, server: RunningServer) -> Page:
    page = visit(signed_in=False)
    page.clock.install()
    return page


@needs_mosquitto
def test_from_the_printed_link_to_a_switched_relay(arrived: Page, server: RunningServer) -> None:
    page = arrived
    # One line, one link: signed in, and asked for a password of one's own and a language.
    page.goto(printed_link(server))
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    page.get_by_role("button", name="Español").click()
    expect(page.get_by_role("heading", name="Le damos la bienvenida")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    page.get_by_role("button", name="English").click()
    page.get_by_label("A password of your own").fill(ADMIN_PASSWORD)
    page.get_by_label("The same once more").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Begin").click()

    # An empty home says what to do next.
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    wait_live(page)
    assert server.api.get("/api/v1/me").json()["password_generated"] is False
    page.get_by_role("link", name="A board that already speaks").click()

    # What to type, and a line that runs as it is copied.
    page.get_by_role("button", name="Water meter").click()
    page.get_by_label("Serial number of the meter").fill("HX2041")
    page.get_by_label("What shall it be called?").fill("HX2041")
    page.get_by_role("button", name="Make it known and show what to type").click()
    expect(page.get_by_role("heading", name="Waiting for the first message of HX2041")).to_be_visible()
    line = page.get_by_role("region", name="Ready to copy").locator("pre code").inner_text()
    assert line.startswith("mosquitto_pub ")

    # A wrong key first: after twenty seconds the page says why by itself.
    key = re.search(r"-P '([^']+)'", line)
    assert key is not None
    wrong = subprocess.run(["bash", "-c", line.replace(key[1], "wrong-key")], check=False, timeout=20)
    assert wrong.returncode != 0
    page.clock.fast_forward(20_000)
    told = page.get_by_role("status").filter(has_text="Nothing usable has arrived yet")
    expect(told).to_contain_text("with a wrong key")
    expect(told).to_contain_text("Copy the key from this page into the board again")

    # Then the line as it is: the page shows the message without a reload and offers a name.
    subprocess.run(["bash", "-ec", line], check=True, timeout=20)
    says = page.get_by_role("heading", name="HX2041 says 12.4 L/min")
    expect(says).to_be_visible()
    news = page.get_by_role("status").filter(has=says)
    news.get_by_label("What shall it be called?").fill("Kitchen meter")
    news.get_by_role("button", name="Keep the name").click()
    expect(page.get_by_role("heading", name="Kitchen meter says 12.4 L/min")).to_be_visible()

    # One tap switches a relay of a demo device, and the page is honest about how far that got.
    page.goto("/ui/join/demo")
    wait_live(page)
    page.get_by_role("button", name="Start the demo devices").click()
    page.get_by_role("link", name="Switch a relay").click()
    expect(page.get_by_role("heading", name="Relay board, workshop")).to_be_visible()
    relay = page.get_by_role("switch", name="Relay 3")
    expect(relay).to_have_attribute("aria-checked", "false")
    relay.click()
    expect(page.get_by_text("Asked to be on")).to_be_visible()
    expect(page.get_by_text("Confirmed by the device")).to_be_visible()
    expect(relay).to_have_attribute("aria-checked", "true")
    states = server.api.get("/api/v1/devices/relay-board/capabilities").json()["items"]
    assert [one["value"] for one in states if one["key"] == "relay_3"] == [True]
