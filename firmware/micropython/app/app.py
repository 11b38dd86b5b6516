"""The application of a board: brings network, time, settings and a contract together and sees that all of it lives.

States: ``boot``, ``provision`` (no network is known), ``wifi``, ``time``, ``register``, ``config``, ``mqtt``, ``online``;
``safe`` when the launcher says that the last starts ended badly. Outputs, the board's page and the serial line work in
all of them. What stands in ``profile.json`` says which contract is spoken and what is connected to which pin.
"""

import asyncio
import gc
import json
import os
import select
import sys

from backoff import Backoff
from clock import Clock
from config import Config
from outbox import Outbox, count_boot
from supervisor import Supervisor
from wifi import Wifi

WATCHDOG_MS = 60000
TIME_AGAIN_MS = 600000
# A network that is not found for so long may have another name now: the set-up opens beside the attempts.
SETUP_MS = 300000
SETTLED_MS = 10000
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"

board = None


def drop(*names):
    """Forget modules that are seldom needed."""
    for name in names:
        sys.modules.pop(name, None)
    gc.collect()


def load(path, usual):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return usual


def version():
    """Of the release in this slot."""
    place = __file__.rpartition("/")[0]
    told = load((place + "/" if place else "") + "release.json", {})
    return told.get("version", "0.0.0") if isinstance(told, dict) else "0.0.0"


def _rand(n):
    return int.from_bytes(os.urandom(4), "big") % n


class App:
    """``hal`` is the module that knows the hardware. ``look()`` is what looks for updates, when something does."""

    def __init__(self, hal, safe=False, clock=None):
        self.hal = hal
        self.safe = safe
        self.state = "boot"
        self.debug = False
        # Settings changed, or somebody wants everything to begin anew.
        self.again = False
        self.look = None
        self.page_failures = 0
        self.clock = clock or Clock()
        self.cause = hal.cause()
        self.version = version()
        profile = load("profile.json", {})
        made = __import__(profile.get("contract", "autocore"))
        fields = dict(made.FIELDS)
        for name in profile.get("settings", {}):
            if name in fields:
                fields[name] = (profile["settings"][name], fields[name][1])
        self.config = Config(fields, made.SECRETS, made.PASSING, made.OLDER, "config", self.log)
        if not self.get("page_password"):
            self.config.put(page_password="".join(_LETTERS[_rand(32)] for _ in range(12)))
        self.sup = Supervisor(self.clock.ms, (lambda: None), self.log)
        self.backoff = Backoff(_rand)
        self.wifi = Wifi(hal.Station(), hal.access_point, self.clock.ms, self.alive)
        self.outbox = Outbox(self.clock, count_boot())
        self.telemetry = profile.get("telemetry_ms", 60000)
        self.contract = made.Contract(self, profile.get("pins", {}))
        self._time_at = None
        self._searching = self.clock.ms()
        self._visitors = 0

    def get(self, name):
        return self.config.values[name]

    def log(self, *said):
        print(*said)

    def enter(self, state):
        if state != self.state:
            self.state = state
            self.log("state:", state, "after", self.clock.ms(), "ms")

    def alive(self):
        self.sup.beat("life")

    def stats(self):
        """Figures for whoever asks: whole numbers and words, no secrets."""
        return {
            "state": self.state,
            "uptime": self.clock.ms() // 1000,
            "cause": self.cause,
            "version": self.version,
            "free_memory": self.hal.free(),
            "failures": self.sup.failures,
            "waiting": len(self.outbox),
            "dropped": self.outbox.dropped,
            "written": self.config.written,
        }

    def changed(self):
        """Settings changed: what hangs on them begins anew."""
        self.again = True
        self.backoff.reset()

    def later(self, make):
        """Run ``make()`` beside everything else; what it raises is told."""
        asyncio.create_task(self._beside(make))

    async def _beside(self, make):
        try:
            await make()
        except Exception as problem:
            self.sup.failures += 1
            self.log("beside:", repr(problem))

    def restart(self):
        """Reset the board; what waits in memory waits on the flash."""
        self.outbox.spill()
        self.hal.reset()

    # Life

    async def run(self):
        """Everything, for ever."""
        self.sup = Supervisor(self.clock.ms, self.hal.watchdog(WATCHDOG_MS), self.log)
        keep = self.sup.keep
        asyncio.create_task(keep("life", self._life, 90000))
        asyncio.create_task(keep("serial", self._serial))
        asyncio.create_task(keep("page", self._page))
        await keep("tick", self._tick, 10000)

    async def _tick(self):
        second = sampled = self.clock.ms()
        while True:
            now = self.clock.ms()
            if not self.safe:
                self.contract.tick()
                if now - sampled >= self.telemetry:
                    sampled = now
                    values = self.contract.sample()
                    if values:
                        self.outbox.add(values)
            if now - second >= 1000:
                second = now
                self.sup.beat("tick")
                self.sup.beat("page")
                self.sup.look()
                gc.collect()
            await asyncio.sleep(0.05)

    async def _life(self):
        while True:
            self.again = False
            wait = await self.once()
            until = self.clock.ms() + wait
            while self.clock.ms() < until and not self.again:
                self.alive()
                await asyncio.sleep(0.1)

    async def once(self):
        """One attempt to be online, and the life that comes of it; milliseconds until the next."""
        self.alive()
        if not self.get("wifi_ssid"):
            self.enter("provision")
            self._set_up()
            return 1000
        if not self.wifi.joined():
            self.enter("wifi")
            if not await self.wifi.join(self.get("wifi_ssid"), self.get("wifi_password")):
                if self.clock.ms() - self._searching > SETUP_MS:
                    self._set_up()
                return self.backoff.next()
        self._searching = self.clock.ms()
        self.wifi.access_point("")
        await self._time()
        if self.safe:
            self.enter("safe")
            if self.look is not None:
                await self.look()
            return 60000
        began = None
        try:
            await self.contract.prepare()
            self.enter("mqtt")
            began = self.clock.ms()
            await self.contract.live()
            return 100
        except OSError as problem:
            self.log("life:", problem)
        except self.contract.Refused as problem:
            self.log("life: refused:", problem)
            if not await self.contract.refused():
                return self.backoff.slow()
        if began is not None and self.state == "online" and self.clock.ms() - began > SETTLED_MS:
            self.backoff.reset()
        self.state = "mqtt"
        return self.backoff.next()

    async def _time(self):
        if self.clock.synced() or (self._time_at is not None and self.clock.ms() - self._time_at < TIME_AGAIN_MS):
            return
        self._time_at = self.clock.ms()
        self.enter("time")
        import ntp

        try:
            now = await ntp.ask()
            self.clock.put(now)
            self.hal.set_clock(now)
        except (OSError, ValueError) as problem:
            self.log("time:", problem)
        drop("ntp")

    def _set_up(self):
        """Open the board's own network, and answer every name there with its address."""
        if self.wifi.open:
            return
        name = "%s-%s" % (self.contract.SETUP, self.get("device_uuid")[-6:])
        self.wifi.access_point(name, self.get("page_password"))
        # On the serial line alone, to whoever has the board in hand.
        self.log("set-up: join", name, "with the password", self.get("page_password"))
        import captive

        opened, port = captive.answer, self.hal.DNS_PORT
        self.later(lambda: opened(lambda: self.wifi.open, port))
        drop("captive")

    async def _page(self):
        try:
            await asyncio.start_server(self._visit, "0.0.0.0", self.hal.PAGE_PORT)
        except OSError as problem:
            # The page is not what a board is for.
            self.log("page:", problem)
        while True:
            await asyncio.sleep(3600)

    async def _visit(self, reader, writer):
        import httpd
        import net

        self._visitors += 1
        try:
            if self._visitors <= httpd.MOST:
                await httpd.serve(self, reader, writer)
        except Exception as problem:
            self.log("page:", repr(problem))
        finally:
            self._visitors -= 1
            await net.close(writer)
            if not self._visitors:
                drop("httpd", "page", "texts")

    async def _serial(self):
        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN)
        line = ""
        while True:
            while poll.poll(0):
                letter = sys.stdin.read(1)
                if not letter:
                    return
                if letter in "\r\n":
                    if line:
                        import provision

                        self.log(await provision.obey(self, line))
                        drop("provision")
                    line = ""
                elif len(line) < 512:
                    line += letter
            self.sup.beat("serial")
            await asyncio.sleep(0.1)


def prepare(hal=None, safe=False):
    """Make the board, once, from what is on the flash."""
    global board
    if board is None:
        if hal is None:
            import hal
        board = App(hal, safe)
    return board


def main(safe=False):
    """Run the board for ever. ``safe`` after starts that ended badly: no relays, no contract."""
    asyncio.run(prepare(None, safe).run())


def wait(coroutine):
    """Run something to its end, from a prompt: not while the board runs."""
    return asyncio.get_event_loop().run_until_complete(coroutine)


def __getattr__(name):
    """The functions whose names a contract fixes."""
    if name[0] != "_":
        found = sys.modules[prepare().contract.NAME]
        if name in found.FUNCTIONS:
            return getattr(found, name)
    raise AttributeError(name)
