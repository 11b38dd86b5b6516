"""Contract thingsnxt: a board that asks over HTTP what it shall be, and tells what it is. Its words are in
:mod:`thingsnxt_words`, what is typed in :mod:`thingsnxt_line`.
"""

import asyncio

from late import late


class Refused(Exception):
    """The server does not know the board, or not its token: its status."""


class Contract:
    """See the module; :func:`thingsnxt_join.begin` gives it outputs, sensors and a pace."""

    Refused = Refused

    def __init__(self, owner):
        self.app = owner
        # ``v0`` and so on, as they are.
        self.states = []
        self.due = {}
        self.sent = self.failed = self.too_many = self.lowest = 0
        # When something worked last, or the start; when somebody was asked to provision the board.
        self.worked = owner.clock.ms()
        self.asked = None
        # What was typed so far of the questions, or ``None``.
        self.answers = None
        self.leaving = False

    def provisioned(self):
        """Whether it knows who it is and whom to ask: before, it asks nobody."""
        get = self.app.get
        return bool(get("device_id") and get("device_token") and get("api_url"))

    def sample(self):
        """Nothing waits: an old state would undo a newer one."""
        return {}

    def tick(self):
        most = self.app.get("restart_after_s") * 1000
        now = self.app.clock.ms()
        if not self.provisioned():
            self.worked = now
            if self.asked is None or now - self.asked >= 30000:
                self.asked = now
                self.app.log("not provisioned: type provision")
        elif now - self.worked > most and not self.leaving:
            self.leaving = True
            self.app.log("nothing has worked for", most // 1000, "s: restarting")
            self.app.later(lambda: late("make").restart(self.app))

    def typed(self, line):
        """What to say about a line, ``None`` when it is none of this contract's."""
        return late("thingsnxt_line").typed(self, line)

    async def connect(self):
        """Ask for the first time. Raises OSError and :class:`Refused`."""
        self.due = {}
        if not await self.step("poll"):
            raise OSError("the server does not answer as it should")

    async def live(self):
        """Ask and tell until the network is gone, which raises OSError, or everything has to begin anew."""
        app = self.app
        while not app.again:
            app.sup.beat("life")
            if not app.station.joined():
                raise OSError("the network is gone")
            for what in self.pace.KINDS:
                if app.clock.ms() >= self.due.get(what, 0):
                    busy = self.too_many
                    worked = await self.step(what)
                    # A server that has too much to do is there.
                    if worked or self.too_many == busy:
                        app.enter("online" if worked else app.reaching)
            await asyncio.sleep(0.05)

    async def step(self, what):
        """Do what is due; whether it worked. Raises :class:`Refused`."""
        worked = await getattr(late("thingsnxt_words"), what)(self)
        now = self.app.clock.ms()
        self.due[what] = now + self.paced.interval(what, now)
        return worked

    async def end(self, politely=False):
        """Nothing stays open."""
