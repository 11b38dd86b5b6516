"""What a page that lives costs the browser: how much of a second its main thread is busy.

    .venv/bin/python bench/dashboards.py --widgets 50 --seconds 10

A dashboard with so many widgets, each of a device of its own that sends ten readings a second over MQTT, is open in a
browser at 1280 x 900. The figures are the browser's own (`Performance.getMetrics` of its debugging protocol): the time of
all tasks of the page's main thread, and what of it was script, style and layout. They are shares of the time measured, so
100 % is a thread that does nothing else. Server, senders and browser share the machine.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from playwright.sync_api import CDPSession, sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import machine  # noqa: E402
from tests.running import RunningServer  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EVERY_S = 0.1
BUSY_MOST = 30.0
KINDS: dict[str, list[dict[str, Any]]] = {
    "values": [{"type": "value"}],
    "gauges": [{"type": "gauge"}],
    "values with a trend": [{"type": "value", "options": {"trend": True, "range": "30m"}}],
    "charts": [{"type": "chart", "options": {"range": "30m"}}],
}
KINDS["all of these"] = [one for kind in KINDS.values() for one in kind]
MEASURED = ("TaskDuration", "ScriptDuration", "RecalcStyleDuration", "LayoutDuration")


def send(port: int, names: list[str]) -> None:
    """Ten readings a second of each device, until it is ended."""
    clients = []
    for name in names:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        client.username_pw_set(name, "any key")
        client.connect("127.0.0.1", port)
        client.loop_start()
        clients.append(client)
    turn = 0
    due = time.monotonic()
    while True:
        for number, (name, client) in enumerate(zip(names, clients, strict=True)):
            client.publish(f"relevo/{name}/telemetry", json.dumps({"level": (turn * 7 + number * 13) % 100 + 0.5}))
        turn += 1
        due += EVERY_S
        time.sleep(max(0.0, due - time.monotonic()))


def metrics(session: CDPSession) -> dict[str, float]:
    found = session.send("Performance.getMetrics")["metrics"]
    return {one["name"]: float(one["value"]) for one in found}


def dashboard(server: RunningServer, names: list[str], kinds: list[dict[str, Any]], title: str) -> str:
    widgets = []
    for number, name in enumerate(names):
        place = {"x": number % 6 * 2, "y": number // 6 * 3, "w": 2, "h": 3, "device": name, "key": "level"}
        widgets.append(place | kinds[number % len(kinds)])
    made = server.api.post("/api/v1/dashboards", json={"name": title, "widgets": widgets})
    made.raise_for_status()
    return str(made.json()["id"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widgets", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    names = [f"bench-{number}" for number in range(asked.widgets)]
    worst = 0.0
    print(machine())
    print("\n| Widgets | readings/s | main thread busy | script | style | layout |\n|---|--:|--:|--:|--:|--:|")
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningServer(Path(folder) / "data", env={"RELEVO_PROFILE": "lab"}) as server,
        sync_playwright() as playwright,
    ):
        sender = multiprocessing.get_context("spawn").Process(target=send, args=(server.mqtt_port, names), daemon=True)
        sender.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            while len(server.api.get("/api/v1/devices?limit=1000").json()["items"]) < len(names):
                time.sleep(0.2)
            for title, kinds in KINDS.items():
                context = browser.new_context(base_url=server.http, viewport={"width": 1280, "height": 900})
                context.add_cookies([{"name": "relevo_session", "value": server.cookie, "url": server.http}])
                page = context.new_page()
                page.goto(f"/ui/dashboard/{dashboard(server, names, kinds, title)}")
                page.locator("main section").nth(len(names) - 1).wait_for()
                page.locator("header [role=status].live").wait_for()
                time.sleep(3)
                session = context.new_cdp_session(page)
                session.send("Performance.enable")
                before, received = metrics(session), server.api.get("/api/v1/system").json()["mqtt"]["received"]
                begun = time.monotonic()
                time.sleep(asked.seconds)
                after, now = metrics(session), server.api.get("/api/v1/system").json()["mqtt"]["received"]
                took = time.monotonic() - begun
                shares = [100 * (after[one] - before[one]) / took for one in MEASURED]
                worst = max(worst, shares[0])
                cells = " | ".join(f"{one:.1f} %" for one in shares)
                print(f"| {len(names)} {title} | {(now - received) / took:.0f} | {cells} |", flush=True)
                context.close()
        finally:
            browser.close()
            sender.terminate()
            sender.join(5)
    reached = worst <= BUSY_MOST
    print(f"\nmost {worst:.1f} %, wanted <= {BUSY_MOST:.0f} %: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
