"""What holds for all pages: they fit, everybody can use them, they are small, and they talk to nobody else."""

import json
import time

import paho.mqtt.client as paho
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Conduct, Visit, wait_live
from tests.browser.pages import MADE, PAGES
from tests.running import REPOSITORY, RunningServer

pytestmark = pytest.mark.browser

LANGUAGES = ["en", "es", "pt"]
AXE = REPOSITORY / "interface/node_modules/axe-core/axe.min.js"
FIRST_PAGE_BYTES = 250_000
LONG_WORD = "Bewässerungspumpensteuerungsgerät" * 3

# Elements that are cut off on purpose do not widen the page; the page itself must not scroll.
OVERFLOW = """
() => {
  const room = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth <= room) return [];
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > room + 0.5)
    .map((element) => `${element.tagName}.${element.className} ${element.textContent.trim().slice(0, 40)}`);
}
"""


@pytest.fixture(scope="module")
def furnished(server: RunningServer) -> RunningServer:
    """Something of everything, with names and values as long as people make them."""
    server.register("fitted", name=LONG_WORD)
    now = int(time.time() * 1000)
    values = {
        "temperature_c": 21.5, "total_energy_since_the_beginning_kwh": 123_456_789.123, "relay_1": True,
        "firmware_version": "v" + "1.2.3-" * 20, "a" * 64: 0.000_001, "nested": {"deep": [1, 2, 3] * 20},
    }  # fmt: skip
    rows = [{"ts": now - 60_000 + n * 1_000, "values": {**values, "temperature_c": 20 + n / 10}} for n in range(50)]
    assert server.api.post("/api/v1/devices/fitted/telemetry", json=rows).json()["stored"] == 50
    server.api.post("/api/v1/devices/fitted/telemetry", content="{" + "x" * 500)
    server.register("plain", name="Plain")
    meter = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="meter")
    meter.connect("127.0.0.1", server.mqtt_port)
    meter.loop_start()
    for n in range(3):
        reading = {"totalLiters": 10.0**9 + n, "flowLmin": 4.6, "numeroSerie": f"LONGSERIAL{n}" + "X" * 20}
        meter.publish("hidrometro/dados", json.dumps(reading), qos=1).wait_for_publish(5)
    meter.disconnect()
    meter.loop_stop()
    assert len(server.api.get("/api/v1/unclaimed").json()["items"]) == 3
    server.api.post("/api/v1/auth/login", json={"username": "x" * 120, "password": "wrong"})
    furnish_water(server)
    furnish_automation(server)
    return server


def furnish_water(server: RunningServer) -> None:
    step = {"up_to_m3": None, "price": 123_456.78}
    tariff = {"id": "t" * 64, "name": LONG_WORD, "currency": "BRL", "base": 9_999.99, "steps": [step]}
    assert server.api.put("/api/v1/tariffs", json=tariff).status_code == 200
    customer = {"name": LONG_WORD, "contact": LONG_WORD, "tariff": tariff["id"]}
    assert server.api.post("/api/v1/customers", json=customer).status_code == 201
    meter = take_in_meter(server, "L0NG-METER", LONG_WORD)
    server.api.patch(f"/api/v1/devices/{meter}", json={"attributes": {"id_cliente": 1}})
    server.api.post(f"/api/v1/devices/{meter}/telemetry", json={"totalLiters": 1e9, "flowLmin": 1e4})


def take_in_meter(server: RunningServer, serial: str, name: str) -> str:
    """A meter of contract hidrometro that is somebody's; its id."""
    made = server.api.post("/api/v1/claim-codes", json={"contract": "hidrometro", "external_id": serial})
    assert made.status_code == 201, made.text
    claimed = server.api.post("/api/v1/claims", json={"code": made.json()["code"], "name": name})
    assert claimed.status_code in (200, 201), claimed.text
    return str(claimed.json()["id"])


def furnish_automation(server: RunningServer) -> None:
    """A rule that has fired, a schedule that has run, a channel, a webhook: each as long as people make them."""
    api = server.api
    webhook = {"name": LONG_WORD[:64], "url": "https://example.org/" + "x" * 200, "kinds": ["alert"], "tags": ["roof"]}
    MADE["webhook"] = api.post("/api/v1/webhooks", json=webhook).json()["id"]
    above = {"value": {"key": "temperature_c", "op": ">", "than": 30, "hysteresis": 1}}
    condition = {"any": [above, {"all": [{"presence": {"online": False}}, {"absent": {"for_s": 86_400}}]}]}
    switch = {"desired": {"device": "fitted", "values": {"relay_1": True}}}
    actions = [{"alert": {"severity": "critical", "text": "{name} has {temperature_c}"}}, switch]
    rule = {"name": LONG_WORD, "scope": {"devices": ["fitted"]}, "condition": condition, "actions": actions}
    MADE["rule"] = api.post("/api/v1/rules", json=rule).json()["id"]
    window = {"days": ["mon", "fri"], "from": "18:30", "to": "01:15"}
    off = {"desired": {"device": "fitted", "values": {"relay_1": False}}}
    timing = {"kind": "weekly", "windows": [window]}
    schedule = {"name": LONG_WORD, "timing": timing, "action": switch, "end_action": off, "zone": "Europe/Madrid"}
    MADE["schedule"] = api.post("/api/v1/schedules", json=schedule).json()["id"]
    api.post(f"/api/v1/schedules/{MADE['schedule']}/run").raise_for_status()
    channel = {"name": LONG_WORD[:64], "url": "ntfy://my-topic"}
    api.post("/api/v1/notifications/channels", json=channel).raise_for_status()
    api.post("/api/v1/notifications/test", json={"title": LONG_WORD, "text": LONG_WORD}).raise_for_status()
    for value in (20, 40):
        api.post("/api/v1/devices/fitted/telemetry", json={"values": {"temperature_c": value}}).raise_for_status()


def furnish_language(page: Page, code: str) -> None:
    page.locator(".language select").select_option(code)
    expect(page.locator("html")).to_have_attribute("lang", code)


# What WCAG 2.2 AA asks for, and axe's own good practice, without anything left out.
VIOLATIONS = """
async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
  .map(({ id, help, nodes }) => [id, help, nodes.map((node) => node.html.slice(0, 200))])
"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_and_is_accessible_in_every_language_and_theme(
    visit: Visit, furnished: RunningServer, name: str, width: int
) -> None:
    address, ready = PAGES[name]
    address = address.format_map(MADE)
    # Colours that are on their way from one to another have no contrast to judge.
    page = visit(signed_in=name != "sign-in", viewport={"width": width, "height": 844}, reduced_motion="reduce")
    page.goto(address)
    page.locator(ready).first.wait_for()
    page.evaluate(AXE.read_text())
    theme = page.locator("header button.icon[aria-label*=':']")
    themes = set()
    for turn in range(3):
        theme.click()
        themes.add(page.locator("html").get_attribute("data-theme"))
        for code in LANGUAGES:
            furnish_language(page, code)
            assert page.evaluate(OVERFLOW) == [], f"{name} at {width} in {code}"
        # Colours are the theme's and names the language's: each is judged once.
        if turn < 2:
            furnish_language(page, LANGUAGES[turn])
            assert page.evaluate(VIOLATIONS) == [], f"{name} at {width}"
    assert themes == {"light", "dark"}


def test_the_choice_of_language_and_theme_is_kept(visit: Visit, furnished: RunningServer) -> None:
    # A page that was left at once may have taken its last choice along.
    furnished.api.patch("/api/v1/me/preferences", json={"theme": "auto", "language": "en"}).raise_for_status()
    page = visit(color_scheme="dark")
    page.goto("/ui/")
    furnish_language(page, "pt")
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


def test_pages_and_the_api_viewer_ask_no_other_host_and_break_no_policy(
    visit: Visit, furnished: RunningServer, conduct: Conduct
) -> None:
    page = visit()
    for address, ready in PAGES.values():
        page.goto(address.format_map(MADE))
        if "signin" not in address:
            page.locator(ready).first.wait_for()
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
