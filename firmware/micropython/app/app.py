"""The application of a board: keeps a contract alive, and what a board has beside it.

States: ``boot``, ``provision`` (no network is known, or not whom to ask), ``wifi``, ``time``, ``register``, ``config``,
``mqtt`` (or what the contract reaches instead), ``online``;
``safe`` when the launcher says that the last starts ended badly. Outputs, the board's page and the serial line work in
all of them. How the board is made is in :mod:`make`, how it comes online in :mod:`rise`.
"""

import asyncio
import gc

from late import late
from micropython import const

_SETTLED_MS = const(10000)

board = None


class App:
    """What a board has; :mod:`make` fills it."""

    # When something about updates is due, 0 without a launcher; what else :mod:`update` keeps.
    due = 0
    updates = None
    state = "boot"
    # What it is in between the network and being online.
    reaching = "mqtt"
    safe = debug = False
    # Settings changed, or somebody wants everything to begin anew.
    again = False
    visitors = 0
    # The name of the network that is open for the set-up.
    open = ""
    timed = None
    # Who may come in: the page's visitors, and whoever types.
    door = doors = None
    # The longest next wait; 0 after a while without failures.
    bound = 0
    # What was typed on the serial line so far.
    line = ""
    # How often the flash was written for settings.
    written = 0

    def get(self, name):
        """A setting."""
        return self.values[name]

    def put(self, **values):
        """Change settings; what lasts is written when it changed. Raises ValueError, and changes nothing then."""
        late("config").put(self, values)

    def log(self, *said):
        print(*said)

    def enter(self, state):
        if state != self.state:
            self.state = state
            self.log("state:", state, "after", self.clock.ms(), "ms")

    def later(self, make):
        """Run ``make()`` beside everything else; what it raises is told."""
        asyncio.create_task(late("failure").beside(self.sup, make))

    def changed(self):
        """Settings changed: what hangs on them begins anew."""
        self.again = True
        self.bound = 0

    async def run(self):
        """Everything, for ever."""
        self.sup.feed = self.hal.watchdog(60000)
        late("make").doors(self)
        asyncio.create_task(self.sup.keep("life", self.life, 90000))
        await self.sup.keep("tick", self.tick, 10000)

    async def tick(self):
        second = sampled = self.clock.ms()
        while True:
            now = self.clock.ms()
            if not self.safe:
                self.contract.tick()
                if now - sampled >= self.telemetry:
                    sampled = now
                    self.outbox.add(self.contract.sample())
            if now - second >= 1000:
                second = now
                self.sup.beat("tick")
                self.sup.look()
                if self.due and now >= self.due:
                    late("update").due(self)
                gc.collect()
            for found in self.doors.poll(0):
                late("httpd" if found[0] is self.door else "provision").admit(self)
            await asyncio.sleep(0.05)

    async def life(self):
        while True:
            self.again = False
            wait = await late("rise").attempt(self)
            if wait is None:
                began = self.clock.ms()
                try:
                    await self.contract.live()
                except (OSError, self.contract.Refused) as problem:
                    self.log("connection:", problem)
                if self.clock.ms() - began > _SETTLED_MS:
                    self.bound = 0
                self.enter(self.reaching)
                wait = late("rise").pause(self)
            wait += self.clock.ms()
            while self.clock.ms() < wait and not self.again:
                self.sup.beat("life")
                await asyncio.sleep(0.1)


def prepare(hal=None, safe=False):
    """Make the board, once, from what is on the flash."""
    global board
    if board is None:
        board = App()
        late("make").fill(board, hal or late("hal"), safe)
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
        found = getattr(late(prepare().name + "_names"), name, None)
        if found is not None:
            return found
    raise AttributeError(name)
