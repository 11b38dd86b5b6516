"""How smoothly the interface moves, in a headless Chromium that draws without a graphics card.

    .venv/bin/python bench/interface.py                  # every part
    .venv/bin/python bench/interface.py --chart --seconds 4 --rounds 3

`--chart`: the chart of a device's page with 100,000 readings in it, each drawn from what was fetched reading by reading
("Every reading"), is moved, zoomed and pointed at, one step for each frame that the browser grants. What counts is the
time from one frame to the next (requestAnimationFrame); "still" is the same page while nobody touches it, which is what
this machine grants at best. It has to be 30 frames a second or more.

Each part is a function of its own that takes an open browser and a server with devices in it, and returns rows for the
table that is printed.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.ingest import machine  # noqa: E402
from tests.running import RunningServer  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LEAST_FRAMES = 30.0
POINTS = 100_000
EVERY_MS = 100


class Row(NamedTuple):
    """Times between frames in milliseconds, of one thing that was done, and how many pictures were drawn meanwhile."""

    what: str
    deltas: list[float]
    pictures: int


# Takes one step for each frame until the time is over; steps come back to where they began, so that all readings stay
# in view. Returns the times between frames, and how often the canvas was cleared to be drawn anew.
MOVE = """
async ([what, seconds]) => {
  const host = document.querySelector('.chart .host');
  const over = host.querySelector('.u-over');
  const box = over.getBoundingClientRect();
  const at = (share) => ({ clientX: box.left + box.width * share, clientY: box.top + box.height / 2, bubbles: true, cancelable: true });
  const steps = {
    still: () => {},
    point: (n) => over.dispatchEvent(new MouseEvent('mousemove', at(0.5 + 0.45 * Math.sin(n / 15)))),
    move: (n) => host.dispatchEvent(new WheelEvent('wheel', { ...at(0.5), deltaX: n % 60 < 30 ? -8 : 8 })),
    zoom: (n) => host.dispatchEvent(new WheelEvent('wheel', { ...at(0.5), ctrlKey: true, deltaY: n % 60 < 30 ? -5 : 5 })),
  };
  const deltas = [];
  let pictures = 0;
  const context = host.querySelector('canvas').getContext('2d');
  const clear = context.clearRect;
  context.clearRect = function (...all) { pictures += 1; return clear.apply(this, all); };
  const until = performance.now() + seconds * 1000;
  let before = await new Promise(requestAnimationFrame);
  for (let n = 0; before < until; n += 1) {
    // Between two frames, as the events of a hand come.
    await new Promise((done) => setTimeout(done));
    steps[what](n);
    const now = await new Promise(requestAnimationFrame);
    deltas.push(now - before);
    before = now;
  }
  delete context.clearRect;
  return [deltas, pictures];
}
"""


def furnish_chart(server: RunningServer) -> None:
    """100,000 readings of one key, ten a second, up to now."""
    server.register("measured", name="Measured")
    end = int(time.time() * 1000)
    for first in range(0, POINTS, 1_000):
        rows = [
            {
                "ts": end - (POINTS - n) * EVERY_MS,
                "values": {"level_mm": round(500 + 200 * math.sin(n / 900) + n * 37 % 50, 2)},
            }
            for n in range(first, first + 1_000)
        ]
        server.api.post("/api/v1/devices/measured/telemetry", json=rows).raise_for_status()


def signed_in(browser: Browser, server: RunningServer) -> Page:
    context = browser.new_context(base_url=server.http, viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "relevo_session", "value": server.cookie, "url": server.http}])
    return context.new_page()


def chart(browser: Browser, server: RunningServer, options: argparse.Namespace) -> list[Row]:
    furnish_chart(server)
    page = signed_in(browser, server)
    page.goto("/ui/device/measured/charts")
    page.locator(".readout strong").wait_for()
    page.get_by_role("button", name="6 h", exact=True).click()
    page.get_by_label("Every reading").check()
    drawn = page.locator("dl dd").last
    page.wait_for_function(
        "() => [...document.querySelectorAll('dl dd')].some((one) => one.textContent === '100,000')", timeout=60_000
    )
    print(f"readings in the chart: {drawn.inner_text()}", file=sys.stderr)
    rows = []
    for what in ("still", "point", "move", "zoom"):
        deltas: list[float] = []
        pictures = 0
        for _ in range(options.rounds):
            found, drawn_meanwhile = page.evaluate(MOVE, [what, options.seconds])
            deltas += found
            pictures += drawn_meanwhile
            # What was moved is fetched anew; that is not what is measured.
            page.wait_for_timeout(3_000)
        rows.append(Row(f"chart of 100,000: {what}", deltas, pictures))
    page.context.close()
    return rows


PARTS: dict[str, Callable[[Browser, RunningServer, argparse.Namespace], list[Row]]] = {"chart": chart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=f"measure this part: {part}")
    parser.add_argument("--seconds", type=float, default=4, help="of each movement")
    parser.add_argument("--rounds", type=int, default=3, help="of each movement")
    options = parser.parse_args()
    wanted = [part for part in PARTS if getattr(options, part)] or list(PARTS)
    print(machine())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for part in wanted:
            with RunningServer(Path(folder) / part, env={"RELEVO_PROFILE": "lab"}) as server:
                rows += PARTS[part](browser, server, options)
        browser.close()
    print("\n| What | frames/s | ms p50 | ms p95 | longest ms | frames | pictures |\n|---|--:|--:|--:|--:|--:|--:|")
    missed = False
    for what, deltas, pictures in rows:
        rate = 1000 * len(deltas) / sum(deltas)
        p95 = statistics.quantiles(deltas, n=20)[-1]
        missed |= rate < LEAST_FRAMES
        print(
            f"| {what} | {rate:.1f} | {statistics.median(deltas):.1f} | {p95:.1f} | {max(deltas):.0f} | {len(deltas)} | {pictures} |"
        )
    print(f"\ngoal {LEAST_FRAMES:.0f} frames/s: {'MISSED' if missed else 'reached'}")


if __name__ == "__main__":
    main()
