"""A webhook is made, its secret shown once, tried, and what it did not take is found and sent again."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Visit
from tests.running import RunningServer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One that gives a delivery up after a second, where others try for a day."""
    hasty = {"RELEVO_WEBHOOKS__GIVE_UP_S": "1", "RELEVO_WEBHOOKS__RETRY_FIRST_S": "0.05"}
    with RunningServer(tmp_path_factory.mktemp("browser") / "data", env={"RELEVO_PROFILE": "lab"} | hasty) as running:
        yield running


class Receiver(BaseHTTPRequestHandler):
    """Takes what comes, and says so."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.kinds.append(self.headers["webhook-id"])  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"thank you")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as listening:
        listening.kinds = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def test_a_webhook_is_made_tried_and_followed(
    server: RunningServer, visit: Visit, receiver: ThreadingHTTPServer
) -> None:
    page = visit()
    page.goto("/ui/webhooks")
    page.get_by_role("link", name="New webhook").first.click()
    page.get_by_label("Name", exact=True).fill("Maintenance")
    page.get_by_label("Address").fill("ftp://example.org/x")
    page.get_by_role("button", name="Save the webhook").click()
    expect(page.locator("main form .problem").first).to_be_visible()
    page.get_by_label("Address").fill(f"http://127.0.0.1:{receiver.server_port}/hook")
    page.get_by_label("Devices added, changed, removed").check()
    page.get_by_role("switch", name="May reach private addresses").click()
    page.get_by_role("button", name="Save the webhook").click()
    secret = page.get_by_role("region", name="The secret")
    expect(secret).to_contain_text("whsec_")
    told = secret.locator("code").inner_text()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("It arrived: the answer was 200.")).to_be_visible()
    server.register("watched", name="Watched")
    deliveries = page.get_by_role("region", name="Deliveries").first
    expect(deliveries.get_by_role("row").filter(has_text="arrived").first).to_contain_text("thank you")
    secret.get_by_role("button", name="I have copied it").click()
    page.reload()
    expect(page.get_by_text("Kept; it is shown only when it is new.")).to_be_visible()
    expect(page.get_by_text("whsec_")).to_have_count(0)
    page.get_by_role("button", name="Make a new secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Make a new secret").click()
    expect(secret.locator("code")).to_have_text(re.compile("^whsec_"))
    assert secret.locator("code").inner_text() != told
    assert receiver.kinds  # type: ignore[attr-defined]


def test_a_test_that_nobody_takes_says_why(server: RunningServer, visit: Visit) -> None:
    body = {"name": "Nowhere", "url": "http://127.0.0.1:9/hook", "kinds": ["alert"], "allow_private": True}
    made = server.api.post("/api/v1/webhooks", json=body).json()
    page = visit(locale="es-MX")
    page.goto(f"/ui/webhook/{made['id']}")
    page.get_by_role("button", name="Enviar una prueba").click()
    expect(page.get_by_text(re.compile("No llegó: .+"))).to_be_visible()
    page.get_by_role("switch", name="El webhook está activo").click()
    page.get_by_role("button", name="Guardar el webhook").click()
    expect(page.get_by_text("Nowhere está guardado.")).to_be_visible()
    assert server.api.get(f"/api/v1/webhooks/{made['id']}").json()["enabled"] is False
    page.get_by_role("button", name="Eliminar el webhook").click()
    page.get_by_role("dialog").get_by_role("button", name="Eliminar el webhook").click()
    expect(page).to_have_url(re.compile("/ui/webhooks$"))
    assert server.api.get(f"/api/v1/webhooks/{made['id']}").status_code == 404


def test_what_was_given_up_is_sent_again(server: RunningServer, visit: Visit, receiver: ThreadingHTTPServer) -> None:
    body = {"name": "Late", "url": "http://127.0.0.1:9/hook", "kinds": ["device"], "allow_private": True}
    made = server.api.post("/api/v1/webhooks", json=body).json()
    server.register("missed", name="Missed")
    page = visit()
    page.goto(f"/ui/webhook/{made['id']}")
    deliveries = page.get_by_role("region", name="Deliveries").first
    row = deliveries.get_by_role("row").filter(has_text="Missed")
    expect(row).to_contain_text("given up")
    page.get_by_label("Address").fill(f"http://127.0.0.1:{receiver.server_port}/hook")
    page.get_by_role("button", name="Save the webhook").click()
    expect(page.get_by_text("Late is saved.")).to_be_visible()
    row.get_by_role("button", name=re.compile("Try delivery .+ again")).click()
    expect(page.get_by_text("1 are tried again; 0 are left.")).to_be_visible()
    expect(row).to_contain_text("arrived")
    assert len(receiver.kinds) == 1  # type: ignore[attr-defined]
