"""A rule from the first click to the alert on the page of whoever watches: made, tried, switched on, acknowledged."""

import math
import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def feed(server: RunningServer, device: str, key: str, values: list[float | bool], every_ms: int) -> None:
    now = round(time.time() * 1000)
    rows = [{"ts": now - (len(values) - n) * every_ms, "values": {key: value}} for n, value in enumerate(values)]
    answer = server.api.post(f"/api/v1/devices/{device}/telemetry", json=rows)
    assert answer.json()["stored"] == len(values)


def pick(page: Page, label: str, text: str, name: str) -> None:
    box = page.get_by_role("combobox", name=label).first
    box.fill(text)
    page.get_by_role("option", name=re.compile(name)).first.click()


@pytest.mark.parametrize("width", [390, 1280])
def test_from_a_rule_to_its_alert_acknowledged(server: RunningServer, visit: Visit, width: int) -> None:
    device = f"cold-{width}"
    server.register(device, name=f"Cold room {width}")
    feed(server, device, "temperature", [5 + 4 * math.sin(n / 4) for n in range(100)], 600_000)
    page = visit(viewport={"width": width, "height": 900})
    page.goto("/ui/rules")
    wait_live(page)
    page.get_by_role("link", name="New rule").first.click()
    page.get_by_label("Name", exact=True).fill(f"Too warm {width}")
    pick(page, "Add a device", "Cold", f"Cold room {width}")
    expect(page.get_by_role("button", name=f"Leave out Cold room {width}")).to_be_visible()
    page.get_by_label("Value", exact=True).fill("temperature")
    page.get_by_label("Compared with").fill("8,5")
    page.get_by_label("Text", exact=True).fill("{name} has {temperature}")

    page.get_by_role("button", name="Try it", exact=True).click()
    trial = page.get_by_role("region", name="Try it on what happened")
    expect(trial.get_by_role("status")).to_contain_text("It would have fired 4 times.")
    expect(trial.get_by_role("img")).to_have_attribute("aria-label", re.compile("Temperature"))
    expect(trial.get_by_role("row")).to_have_count(5)
    assert server.api.get("/api/v1/rules", params={"device": device}).json()["items"] == []

    page.get_by_role("button", name="Save and switch on").click()
    expect(page).to_have_url(re.compile(r"/ui/rule/(?!new)"))
    (rule,) = server.api.get("/api/v1/rules", params={"device": device}).json()["items"]
    assert rule["condition"]["value"] | {} == {"key": "temperature", "op": ">", "than": 8.5}
    assert rule["enabled"]

    page.goto("/ui/alerts")
    wait_live(page)
    expect(page.get_by_role("heading", name="Alerts", exact=True)).to_be_visible()
    server.api.post(f"/api/v1/devices/{device}/telemetry", json={"values": {"temperature": 9.5}}).raise_for_status()
    alert = page.get_by_role("listitem").filter(has_text=f"Cold room {width} has 9.5")
    expect(alert).to_be_visible()
    alert.get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Note").fill("On my way")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(alert).to_contain_text("Acknowledged")
    expect(alert).to_contain_text("On my way")
    (kept,) = server.api.get("/api/v1/alerts", params={"device": device}).json()["items"]
    assert (kept["state"], kept["note"]) == ("acknowledged", "On my way")
    alert.get_by_role("button", name="Its story").click()
    expect(alert.get_by_role("listitem").filter(has_text="Opened")).to_be_visible()

    page.goto("/ui/rules")
    row = page.get_by_role("listitem").filter(has_text=f"Too warm {width}")
    expect(row).to_contain_text("When Temperature is above 8.5")
    expect(row).to_contain_text("true of one device now")
    row.get_by_role("switch").click()
    expect(row.get_by_role("switch")).to_have_attribute("aria-checked", "false")
    assert not server.api.get(f"/api/v1/rules/{rule['id']}").json()["enabled"]


def test_a_wrong_expression_is_told_beside_its_field(server: RunningServer, visit: Visit) -> None:
    page = visit()
    page.goto("/ui/rule/new")
    page.get_by_label("Name", exact=True).fill("Wrong")
    page.get_by_label("Condition", exact=True).select_option("expression")
    field = page.get_by_label("Expression (CEL)")
    field.fill("flow >")
    page.get_by_role("button", name="Save and switch on").click()
    expect(field).to_have_accessible_description(re.compile("Such as flow"))
    expect(page.locator("main form .problem").first).to_be_visible()
    field.fill("flow > 2.5 && level < 10")
    page.get_by_role("button", name="Save and switch on").click()
    expect(page.get_by_role("heading", name="Wrong")).to_be_visible()
    (rule,) = server.api.get("/api/v1/rules", params={"search": "Wrong"}).json()["items"]
    assert rule["condition"]["expression"]["text"] == "flow > 2.5 && level < 10"


def test_conditions_are_combined_and_kept_as_a_tree(server: RunningServer, visit: Visit) -> None:
    page = visit(locale="es-MX")
    page.goto("/ui/rule/new")
    page.get_by_label("Nombre", exact=True).fill("Combinada")
    page.get_by_label("Valor", exact=True).fill("level")
    page.get_by_label("Comparación").select_option("<")
    page.get_by_label("Comparado con").fill("20")
    page.get_by_role("button", name="Combinar con otra").click()
    page.get_by_label("Condición", exact=True).nth(2).select_option("presence")
    page.get_by_role("button", name="Guardar y activar").click()
    expect(page.get_by_role("heading", name="Combinada")).to_be_visible()
    (rule,) = server.api.get("/api/v1/rules", params={"search": "Combinada"}).json()["items"]
    first, second = rule["condition"]["all"]
    assert first["value"] == {"key": "level", "op": "<", "than": 20}
    assert second["presence"] == {"online": False, "for_s": 60}
    expect(page.locator("main")).to_contain_text("Cuando Nivel es menor que 20 y el dispositivo no está durante 1 min")


def test_a_template_fills_the_form_in_and_a_rule_is_removed_after_a_question(
    server: RunningServer, visit: Visit
) -> None:
    page = visit()
    page.goto("/ui/rule/new")
    page.get_by_role("button", name=re.compile("^Tank low")).click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Tank low")
    page.get_by_role("button", name="Save and switch on").click()
    expect(page.get_by_role("heading", name="Tank low")).to_be_visible()
    page.get_by_role("button", name="Remove the rule").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove the rule").click()
    expect(page).to_have_url(re.compile("/ui/rules$"))
    assert server.api.get("/api/v1/rules", params={"search": "Tank low"}).json()["items"] == []
