"""A rule is tried on the chart of a device, switched on from there, and its alert is on the page at once."""

import time

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def feed(server: RunningServer, device: str, **series: list[float | bool]) -> None:
    for n, values in enumerate(zip(*series.values(), strict=True)):
        now = round(time.time() * 1000)
        body = {"ts": now - 60_000 + n * 1_000, "values": dict(zip(series, values, strict=True))}
        server.api.post(f"/api/v1/devices/{device}/telemetry", json=body).raise_for_status()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_threshold_is_tried_drawn_and_switched_on(server: RunningServer, visit: Visit, width: int) -> None:
    device = f"fridge-{width}"
    server.register(device, name="Fridge")
    feed(server, device, t=[5, 9, 5, 9, 5])
    page = visit(viewport={"width": width, "height": 900})
    page.goto(f"/ui/device/{device}")
    wait_live(page)
    page.get_by_text("Try a rule on this chart").click()
    page.get_by_label("Value", exact=True).fill("7.5")
    page.get_by_role("button", name="Try", exact=True).click()
    answer = page.locator("details [role=status]")
    expect(answer).to_contain_text("It would have fired 2 times.")
    assert server.api.get("/api/v1/rules", params={"device": device}).json()["items"] == []
    page.get_by_role("button", name="Switch it on, with an alert").click()
    expect(answer).to_contain_text("The rule is on.")
    (rule,) = server.api.get("/api/v1/rules", params={"device": device}).json()["items"]
    assert rule["condition"] == {"value": {"key": "t", "op": ">", "than": 7.5}}
    assert rule["scope"]["devices"] == [device]
    server.api.post(f"/api/v1/devices/{device}/telemetry", json={"values": {"t": 8.25}}).raise_for_status()
    line = page.locator("main ol li", has_text="Alert").first
    expect(line).to_contain_text("Fridge: T > 7.5 (8.25)")
    expect(line).to_contain_text("warning")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_a_switch_is_tried_as_on_and_off(server: RunningServer, visit: Visit) -> None:
    server.register("door", name="Door")
    feed(server, "door", open=[False, True, False, True, True])
    page = visit(locale="es-ES")
    page.goto("/ui/device/door")
    wait_live(page)
    page.get_by_text("Probar una regla en este gráfico").click()
    page.get_by_role("button", name="Probar", exact=True).click()
    answer = page.locator("details [role=status]")
    expect(answer).to_contain_text("Se habría activado 2 veces.")
    page.get_by_label("Valor", exact=True).select_option("off")
    page.get_by_role("button", name="Probar", exact=True).click()
    expect(answer).to_contain_text("Se habría activado 2 veces.")
    page.get_by_label("durante").fill("3600")
    page.get_by_role("button", name="Probar", exact=True).click()
    expect(answer).to_contain_text("No se habría activado.")


def test_whoever_may_only_look_is_offered_nothing(server: RunningServer, visit: Visit) -> None:
    server.register("seen", name="Seen")
    feed(server, "seen", t=[5, 9])
    password = "a-long-enough-one"
    server.api.post("/api/v1/users", json={"name": "looker", "password": password, "role": "viewer"})
    server.api.post("/api/v1/devices/seen/grants", json={"account": "looker"}).raise_for_status()
    answer = httpx.post(
        f"{server.http}/api/v1/auth/login",
        json={"username": "looker", "password": password},
        headers={"Origin": server.http, "Sec-Fetch-Site": "same-origin"},
        trust_env=False,
    )
    page = visit(signed_in=False)
    page.context.add_cookies(
        [{"name": "relevo_session", "value": answer.cookies["relevo_session"], "url": server.http}]
    )
    page.goto("/ui/device/seen")
    wait_live(page)
    expect(page.locator(".readout strong")).to_be_visible()
    expect(page.get_by_text("Try a rule on this chart")).to_have_count(0)
