"""Pages of the water meters in a real browser: dashboard, control, customers, meters, signing in and out."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.journeys.meters import Meter, claim
from tests.running import ADMIN_PASSWORD, RunningServer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def meter(server: RunningServer) -> Iterator[Meter]:
    with Meter(server, "hidrometro/cmd") as one:
        yield one


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_the_dashboard_shows_litres_and_flow_live(visit: Visit, server: RunningServer, meter: Meter) -> None:
    claim(server, "DASH1")
    page = visit(locale="en-GB")
    page.goto("/dashboard")
    expect(page.locator("#state")).to_have_text("Live")
    for n in range(5):
        meter.read("DASH1", 100 + n, 2 + n % 3 / 4)
    expect(page.locator("#total")).to_have_text("104")
    expect(page.locator("#flow")).to_have_text("2.25")
    expect(page.locator("#whose")).to_have_text("DASH1")
    expect(page.locator("#chart .line")).to_have_attribute("d", re.compile(r"^M.*L"))
    page.locator("#serial").select_option("DASH1")
    meter.read("OTHER", 7_777)
    meter.read("DASH1", 105.5)
    expect(page.locator("#total")).to_have_text("105.5")
    page.locator("#serial").select_option("OTHER")
    expect(page.locator("#total")).to_have_text("7,777")


def test_a_leak_is_on_the_dashboard_and_can_be_resolved(visit: Visit, server: RunningServer, meter: Meter) -> None:
    claim(server, "LEAKY")
    page = visit(locale="pt-BR")
    page.goto("/dashboard")
    expect(page.locator("#state")).to_have_text("Ao vivo")
    expect(page.get_by_text("Nenhum vazamento em aberto.")).to_be_visible()
    meter.read("LEAKY", 5, 9.5, vazamento_detectado=True)
    alert = page.locator("#alerts li")
    expect(alert).to_contain_text("LEAKY")
    page.reload()
    expect(alert).to_contain_text("LEAKY")
    alert.get_by_role("button", name="Resolver").click()
    expect(alert).to_have_count(0)
    assert server.api.get("/api/v1/alerts").json()["open"] == 0


def test_without_socketio_the_dashboard_asks_every_five_seconds_and_comes_back(
    visit: Visit, server: RunningServer, meter: Meter
) -> None:
    page = visit(locale="en-GB")
    page.context.route("**/socket.io/**", lambda route: route.abort())
    meter.read("POLLED", 10)
    page.goto("/dashboard")
    expect(page.locator("#state")).to_contain_text("asking every 5 s")
    meter.read("POLLED", 11.25)
    expect(page.locator("#total")).to_have_text("11.25", timeout=20_000)
    page.context.unroute("**/socket.io/**")
    expect(page.locator("#state")).to_have_text("Live", timeout=20_000)
    meter.read("POLLED", 12.5)
    expect(page.locator("#total")).to_have_text("12.5")


def test_control_sends_what_it_says_and_asks_before_it_reaches_many(
    visit: Visit, server: RunningServer, meter: Meter
) -> None:
    claim(server, "CTRL1")
    claim(server, "CTRL2")
    meter.read("CTRL1", 500)
    meter.heard.clear()
    page = visit(locale="en-GB")
    page.goto("/control")
    amount = page.locator(".amount")
    expect(amount).to_be_hidden()
    # One that takes nothing back needs no confirmation.
    page.get_by_label("Simulate a flow").check()
    expect(amount).to_be_visible()
    page.locator("[name=value]").fill("6,5")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#sent li").first).to_contain_text("sent to those that listen")
    assert [body for _, body, _, _ in meter.heard] == [{"action": "simulate", "value": 6.5}]
    page.get_by_label("For which meter").select_option("CTRL1")
    page.get_by_label("Set the total to zero").check()
    expect(amount).to_be_hidden()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Confirm before it is sent")).to_be_visible()
    expect(page.locator(".confirm")).to_contain_text("CTRL1 shares its command topic with")
    assert len(meter.heard) == 1
    page.get_by_role("link", name="Do not send").click()
    assert len(meter.heard) == 1
    page.get_by_label("For which meter").select_option("CTRL1")
    page.get_by_label("Set the total to zero").check()
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="I understand, send it anyway").click()
    first = page.locator("#sent li").first
    expect(first).to_contain_text("CTRL1")
    assert meter.heard[-1][1] == {"action": "reset", "numeroSerie": "CTRL1"}
    meter.read("CTRL1", 0.25)
    expect(first).to_contain_text("confirmed by a reading")
    # The field is required where the action needs it.
    page.get_by_label("Change the calibration").check()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[name=value]:invalid")).to_have_count(1)


def test_signing_in_leads_to_the_page_that_was_asked_for_and_out_again(visit: Visit, server: RunningServer) -> None:
    page = visit(signed_in=False, locale="es-PE")
    page.goto("/dashboard")
    assert page.url.endswith("/login?next=/dashboard")
    page.get_by_label("Usuario o correo").fill("admin")
    page.get_by_label("Contraseña").fill("wrong")
    page.get_by_role("button", name="Entrar").click()
    expect(page.get_by_role("alert")).to_have_text("Usuario o contraseña incorrectos.")
    page.get_by_label("Contraseña").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Entrar").click()
    expect(page.get_by_role("heading", name="Panel")).to_be_visible()
    assert page.url == f"{server.http}/dashboard"
    page.get_by_role("link", name="Salir").click()
    expect(page.get_by_role("heading", name="¿Desea salir?")).to_be_visible()
    page.get_by_role("button", name="Salir").click()
    page.goto("/control")
    assert page.url.endswith("/login?next=/control")


def test_customers_and_their_meters_are_kept_on_pages(visit: Visit, server: RunningServer, meter: Meter) -> None:
    claim(server, "CUST1")
    page = visit(locale="en-GB")
    page.goto("/clientes")
    new = page.locator("article", has_text="New customer")
    new.get_by_label("Name").fill("Casa <b>Verde</b>")
    new.get_by_label("Price per m³").fill("4,50")
    new.get_by_role("button", name="Save").click()
    card = page.locator("article", has_text="Casa <b>Verde</b>")
    expect(card).to_contain_text("4.5 BRL/m³")
    page.goto("/dispositivos")
    mine = page.locator("article", has_text="CUST1")
    mine.get_by_text("Edit").click()
    mine.get_by_label("Customer").select_option(label="Casa <b>Verde</b>")
    mine.get_by_label("State").select_option("Manutencao")
    mine.get_by_role("button", name="Save").click()
    expect(mine).to_contain_text("Being serviced")
    expect(mine).to_contain_text("Casa <b>Verde</b>")
    for total in (1_000, 3_000):
        meter.read("CUST1", total)
    page.goto("/clientes")
    expect(card).to_contain_text("2.000 m³")
    expect(card).to_contain_text("9.00 BRL")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/dashboard", "/control", "/clientes", "/dispositivos", "/logout", "/login"])
def test_every_page_fits_a_phone_and_follows_the_colour_scheme(visit: Visit, path: str, scheme: str) -> None:
    viewport = {"width": 390, "height": 844}
    page = visit(signed_in=path != "/login", viewport=viewport, color_scheme=scheme, locale="pt-BR")
    page.goto(path)
    expect(page.locator("h1")).to_be_visible()
    assert sideways(page) == 0
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.locator("html").get_attribute("lang") == "pt"
