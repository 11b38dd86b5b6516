"""Connecting a board: what the page shows runs as it is copied, and when nothing arrives the page says why."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Visit, needs_mosquitto, wait_live
from tests.clients.node import installed
from tests.running import REPOSITORY, RunningServer

pytestmark = pytest.mark.browser

# Kind of board -> label of what it is called by, and an identity.
IDENTITIES = {
    "native": ("Id of the device", "greenhouse-1"),
    "hidrometro": ("Serial number of the meter", "HX2041"),
    "autocore": ("UUID of the board", "550e8400-0a1b2c"),
    "thingsnxt": ("", ""),
    "alchemy": ("Serial number", "LMP07QK2ZD4A"),
    "emqx": ("Client id (device_id)", "ESP32_001"),
}
VALUES = {
    "native": ("temperature", 21.5), "hidrometro": ("flowLmin", 12.4), "autocore": ("supply_v", 12.1),
    "thingsnxt": ("temperature", 22.4), "alchemy": ("watts", 8.6), "emqx": ("temperature", 21.75),
}  # fmt: skip

# The board's own modules: there is no radio and no socket under Node, so what it would send is printed.
BOARD = """
import sys
class Wlan:
    IF = 0
    def __init__(self, interface): pass
    def active(self, on): pass
    def connect(self, name, password): pass
    def isconnected(self): return True
class Network:
    STA_IF = 0
    WLAN = Wlan
class Client:
    def __init__(self, client_id, server, port=0, user=None, password=None, keepalive=0):
        self.said = {"id": client_id, "host": server, "port": port, "user": user, "password": password}
    def connect(self): pass
    def publish(self, topic, message, qos=0):
        import json
        self.said.update({"topic": topic, "message": message, "qos": qos})
        print(json.dumps(self.said))
        raise SystemExit
class Simple:
    MQTTClient = Client
class Umqtt:
    simple = Simple
sys.modules["network"] = Network
sys.modules["umqtt"] = Umqtt
sys.modules["umqtt.simple"] = Simple
try:
    exec(SKETCH)
except SystemExit:
    pass
"""

# What an ESP32's core and the library have of what the sketch uses, with their signatures.
ARDUINO = """
#include <cstdint>
#define WL_CONNECTED 3
struct SerialPort { void begin(unsigned long); int printf(const char*, ...); } Serial;
struct Wifi { void begin(const char*, const char*); int status(); } WiFi;
struct WiFiClient {};
struct PubSubClient {
  explicit PubSubClient(WiFiClient&);
  PubSubClient& setServer(const char*, uint16_t);
  bool setBufferSize(uint16_t);
  bool connect(const char*, const char*, const char*);
  bool connected(); bool loop(); int state();
  bool publish(const char*, const char*);
};
unsigned long millis(); void delay(uint32_t);
"""


@pytest.fixture(scope="module")
def server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The secure profile: what the page shows has to hold where every door asks for a key."""
    with RunningServer(tmp_path_factory.mktemp("connecting") / "data") as running:
        yield running


def eventually(probe: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
    return found


def enrol(page: Page, kind: str, name: str, identity: str = "") -> str:
    """Through the form; the id of the device that was made."""
    page.goto(f"/ui/join/speaks?kind={kind}")
    wait_live(page)
    label, usual = IDENTITIES[kind]
    if label:
        page.get_by_label(label, exact=True).fill(identity or usual)
    page.get_by_label("What shall it be called?").fill(name)
    page.get_by_role("button", name="Make it known and show what to type").click()
    expect(page.get_by_role("heading", name=f"Waiting for the first message of {name}")).to_be_visible()
    return shown(page, "User name")


def shown(page: Page, term: str) -> str:
    return page.locator("dl div").filter(has=page.get_by_text(term, exact=True)).locator("code").inner_text()


def sketch(page: Page, tongue: str) -> str:
    page.get_by_role("group", name="Tool or language").get_by_role("button", name=tongue, exact=True).click()
    return page.get_by_role("region", name="Ready to copy").locator("pre code").inner_text()


def count(server: RunningServer, device: str, key: str) -> int:
    answer = server.api.get(f"/api/v1/devices/{device}/telemetry/{key}")
    return len(answer.json()["points"]) if answer.status_code == 200 else 0


@needs_mosquitto
@pytest.mark.parametrize("kind", IDENTITIES)
def test_every_sketch_runs_as_it_is_copied(visit: Visit, server: RunningServer, tmp_path: Path, kind: str) -> None:
    page = visit()
    name = f"Board of {kind}"
    device = enrol(page, kind, name)
    key, value = VALUES[kind]

    subprocess.run(["bash", "-ec", sketch(page, "mosquitto_pub")], check=True, timeout=20)
    expect(page.get_by_role("heading", name=f"{name} speaks: its first message is here")).to_be_visible()
    assert server.api.get(f"/api/v1/devices/{device}/latest").json()[key]["value"] == value

    before = count(server, device, key)
    curl = subprocess.run(["bash", "-ec", sketch(page, "curl")], check=True, timeout=20, capture_output=True)
    assert count(server, device, key) == before + 1, curl.stdout

    with subprocess.Popen([sys.executable, "-c", sketch(page, "Python")]) as running:
        try:
            eventually(lambda: count(server, device, key) == before + 2)
        finally:
            running.kill()

    code = tmp_path / "sketch.py"
    code.write_text(f"SKETCH = {sketch(page, 'MicroPython')!r}\n{BOARD}")
    micropython = REPOSITORY / "tests/journeys/micropython.mjs"
    command = ["node", str(micropython), str(installed()), str(tmp_path), str(code)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = json.loads(ended.stdout)
    assert (said["host"], said["port"]) == ("127.0.0.1", server.mqtt_port)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, said["id"])
    client.username_pw_set(said["user"], said["password"])
    client.connect(said["host"], said["port"])
    client.loop_start()
    client.publish(said["topic"], said["message"], qos=said["qos"]).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()
    assert count(server, device, key) == before + 3

    for header in ("WiFi.h", "PubSubClient.h"):
        (tmp_path / header).write_text(f"#pragma once\n{ARDUINO if header == 'WiFi.h' else ''}")
    (tmp_path / "sketch.cpp").write_text(sketch(page, "Arduino"))
    compiled = ["g++", "-fsyntax-only", "-Wall", "-Werror", "-I", str(tmp_path), str(tmp_path / "sketch.cpp")]
    try:
        subprocess.run(compiled, check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("there is no g++ to read the Arduino sketch with")


def waiting(page: Page) -> Locator:
    return page.get_by_role("status").filter(has=page.get_by_role("heading", name="Nothing usable has arrived yet"))


def publish(server: RunningServer, user: str, key: str, topic: str, message: str = "{}") -> None:
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(server.mqtt_port), "-t", topic, "-m", message, "-q", "1"]
    if user:
        command += ["-u", user, "-P", key]
    subprocess.run(command, check=False, timeout=20, capture_output=True)


@needs_mosquitto
def test_a_wrong_key_and_a_wrong_topic_are_told_with_what_to_do(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.clock.install()
    device = enrol(page, "native", "Locked out", "locked-out")
    publish(server, device, "not the key", f"relevo/{device}/telemetry")
    publish(server, device, shown(page, "Key (password)"), "relevo/somebody-else/telemetry")
    expect(waiting(page)).to_have_count(0)
    page.clock.fast_forward(20_000)
    told = waiting(page)
    expect(told).to_contain_text("A board tried as “locked-out” with a wrong key")
    expect(told).to_contain_text("Copy the key from this page")
    expect(told).to_contain_text("relevo/somebody-else/telemetry")
    expect(told).to_contain_text("Use the topic from this page")
    # And once it does it right, that is what the page says.
    publish(server, device, shown(page, "Key (password)"), f"relevo/{device}/telemetry", '{"temperature": 4}')
    expect(page.get_by_role("heading", name="Locked out speaks: its first message is here")).to_be_visible()


def test_nothing_at_all_is_told_with_what_to_check(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.clock.install()
    page.goto("/ui/join/new")
    wait_live(page)
    page.get_by_label("Address of this server").fill("192.168.7.20")
    page.clock.fast_forward(20_000)
    told = waiting(page)
    expect(told).to_contain_text("Nothing at all has reached this server")
    expect(told).to_contain_text(f"192.168.7.20 and the port {server.mqtt_port}")


def test_the_pairing_window_counts_down_and_is_closed(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/join/new")
    expect(page.get_by_text("Pairing is closed.")).to_be_visible()
    page.get_by_role("button", name="Open for 10 minutes").click()
    expect(page.get_by_role("timer")).to_contain_text("opened by admin")
    assert server.api.get("/api/v1/pairing").json()["open"] is True
    page.get_by_role("button", name="Close now").click()
    expect(page.get_by_text("Pairing is closed.")).to_be_visible()
    assert server.api.get("/api/v1/pairing").json()["open"] is False
    # Somebody else may open it.
    server.api.post("/api/v1/pairing", json={"minutes": 1})
    expect(page.get_by_role("timer")).to_be_visible()


def test_a_photo_of_a_label_takes_the_device_in(visit: Visit, server: RunningServer, tmp_path: Path) -> None:
    drawn = server.api.post("/api/v1/labels", json={"identities": [{"contract": "hidrometro", "external_id": "PH-1"}]})
    assert drawn.status_code == 200, drawn.text
    (tmp_path / "label.svg").write_text(drawn.text)
    paper = visit(signed_in=False, viewport={"width": 1000, "height": 1400})
    paper.set_content(drawn.text)
    photo = tmp_path / "photo.png"
    paper.screenshot(path=str(photo))
    page = visit()
    page.goto("/ui/join/scan")
    page.get_by_label("Choose a photo").set_input_files(str(photo))
    expect(page.get_by_text("Read: PH-1")).to_be_visible()
    page.get_by_label("What shall it be called?").fill("From the photo")
    page.get_by_role("button", name="Make it mine").click()
    expect(page.get_by_role("heading", name="From the photo")).to_be_visible()


def test_a_photo_without_a_label_says_so(visit: Visit, tmp_path: Path) -> None:
    paper = visit(signed_in=False)
    paper.set_content("<h1>nothing to read</h1>")
    photo = tmp_path / "photo.png"
    paper.screenshot(path=str(photo))
    page = visit()
    page.goto("/ui/join/scan")
    page.get_by_label("Choose a photo").set_input_files(str(photo))
    expect(page.get_by_role("alert").filter(has_text="no readable QR code")).to_be_visible()


def test_a_code_is_made_shown_once_and_revoked(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/join/scan")
    codes = page.get_by_role("region", name="Codes that are out")
    codes.get_by_label("For which serial number or id?").fill("HX9001")
    codes.get_by_role("button", name="Make a code").click()
    dialog = page.get_by_role("dialog", name="The code for HX9001")
    expect(dialog.locator("code")).not_to_be_empty()
    dialog.get_by_role("button", name="I have kept it").click()
    row = codes.get_by_role("listitem").filter(has_text="HX9001")
    row.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Make useless").click()
    expect(row).to_have_count(0)
    assert "HX9001" not in server.api.get("/api/v1/claim-codes").text


def test_demo_devices_come_and_go_with_a_button(visit: Visit, server: RunningServer) -> None:
    page = visit()
    page.goto("/ui/join/demo")
    page.get_by_role("button", name="Start the demo devices").click()
    expect(page.get_by_role("link", name="Switch a relay")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="demo devices live now")).to_be_visible()
    page.get_by_role("button", name="Stop and remove them").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop and remove them").click()
    expect(page.get_by_role("button", name="Start the demo devices")).to_be_visible()
    tagged = server.api.get("/api/v1/devices", params={"tag": "demo"}).json()
    assert tagged["total"] == 0
