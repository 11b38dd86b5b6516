"""The inbox, the channels and the preferences, as a person uses them."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, wait_live
from tests.running import RunningServer

pytestmark = pytest.mark.browser


def test_a_notification_arrives_live_is_read_and_muted(server: RunningServer, visit: Visit) -> None:
    page = visit()
    page.goto("/ui/notifications")
    wait_live(page)
    expect(page.get_by_role("heading", name="Your inbox is empty")).to_be_visible()
    server.api.post("/api/v1/notifications/test", json={"title": "The cellar is wet", "text": "Look at it"})
    row = page.get_by_role("listitem").filter(has_text="The cellar is wet")
    expect(row).to_contain_text("unread")
    row.get_by_role("button", name="Mark as read").click()
    expect(row).not_to_contain_text("unread")
    server.api.post("/api/v1/notifications/test", json={"title": "Again something"})
    expect(page.get_by_role("listitem").filter(has_text="Again something")).to_be_visible()
    page.get_by_role("button", name="Unread", exact=True).click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_text("Nothing unread.")).to_be_visible()
    assert server.api.get("/api/v1/notifications").json()["unread"] == 0
    page.get_by_role("button", name="All", exact=True).click()
    row.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Mute its source").click()
    expect(page.get_by_text("You will not hear from it any more.")).to_be_visible()
    assert server.api.get("/api/v1/notifications/preferences").json()["muted"] == [{"source": "test", "until": None}]
    row.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(row).to_have_count(0)


def test_a_channel_is_added_tried_and_removed(server: RunningServer, visit: Visit) -> None:
    page = visit()
    page.goto("/ui/notifications/channels")
    page.get_by_role("button", name="Add a channel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Service").select_option("Another one (address of Apprise)")
    dialog.get_by_label("Name").fill("House")
    dialog.get_by_label("Address").fill("nonsense")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.locator(".problem")).to_be_visible()
    dialog.get_by_label("Address").fill("json://127.0.0.1:9/hook")
    dialog.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("listitem").filter(has_text="House")
    expect(row).to_contain_text("json://****")
    row.get_by_role("button", name="Send a test").click()
    expect(row.get_by_role("status")).to_contain_text(re.compile("The test through House failed: .+"))
    row.get_by_label("From this severity on").select_option("critical")
    expect(page.get_by_text("Saved")).to_be_visible()
    (kept,) = server.api.get("/api/v1/notifications/channels").json()["items"]
    assert kept["min_severity"] == "critical"
    row.get_by_role("button", name="Remove the channel House?").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove the channel").click()
    expect(page.get_by_role("heading", name="No channels yet")).to_be_visible()
    assert server.api.get("/api/v1/notifications/channels").json()["items"] == []


def test_preferences_are_kept_and_silence_ends(server: RunningServer, visit: Visit) -> None:
    page = visit(locale="pt-BR")
    page.goto("/ui/notifications/preferences")
    page.get_by_label("Informativo").select_option("off")
    page.get_by_role("button", name="Adicionar horas de silêncio").click()
    page.get_by_role("button", name="domingo").click()
    page.get_by_label("Fuso horário").fill("America/Nowhere")
    page.get_by_role("button", name="Salvar as preferências").click()
    expect(page.locator("main .problem").first).to_be_visible()
    page.get_by_label("Fuso horário").fill("America/Sao_Paulo")
    page.get_by_role("button", name="Salvar as preferências").click()
    expect(page.get_by_text("Suas preferências foram salvas.")).to_be_visible()
    kept = server.api.get("/api/v1/notifications/preferences").json()
    assert kept["severities"]["info"] == "off"
    assert kept["zone"] == "America/Sao_Paulo"
    assert kept["quiet"] == [{"days": ["mon", "tue", "wed", "thu", "fri", "sat"], "from": "22:00", "to": "07:00"}]
    page.get_by_role("button", name="8 horas").click()
    expect(page.get_by_text("Em silêncio até")).to_be_visible()
    assert server.api.get("/api/v1/notifications/preferences").json()["snoozed_until"]
    page.get_by_role("button", name="Encerrar o silêncio").click()
    expect(page.get_by_text("Em silêncio até")).to_have_count(0)
    assert server.api.get("/api/v1/notifications/preferences").json()["snoozed_until"] is None
