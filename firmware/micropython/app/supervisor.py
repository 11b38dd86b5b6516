"""Who is alive: every task says so, and the watchdog is fed only while all of them do."""

import asyncio

from late import late


class Supervisor:
    """``ms()`` never jumps; ``feed()`` feeds the watchdog. A task that fails is begun again, and counted."""

    def __init__(self, ms, feed, log=print):
        self.ms = ms
        self.feed = feed
        self.log = log
        # When it was heard of, and how long it may be silent.
        self.tasks = {}
        self.failures = 0
        self.last = ""

    def beat(self, name, patience=30000):
        """``name`` is alive; ``patience`` (ms) is told once."""
        self.tasks[name] = (self.ms(), self.tasks[name][1] if name in self.tasks else patience)

    def look(self):
        """Feed the watchdog when all are alive; whether they are."""
        now = self.ms()
        for name in self.tasks:
            if now - self.tasks[name][0] > self.tasks[name][1]:
                self.log("not heard of:", name)
                return False
        self.feed()
        return True

    def failed(self, name, problem):
        """Count and tell a failure that nobody expected."""
        self.failures += 1
        self.last = "%s: %r" % (name, problem)
        late("failure").tell(problem, self.log, self.last)

    async def keep(self, name, make, patience=30000):
        """Run ``make()``: a failure is told, and it begins again a second later, for ever.

        One that fails again at once is not counted as alive, so that the watchdog ends it.
        """
        self.beat(name, patience)
        while True:
            began = self.ms()
            try:
                await make()
                # It has nothing to do any more.
                del self.tasks[name]
                return
            except Exception as problem:
                self.failed(name, problem)
            if self.ms() - began > 5000:
                self.beat(name)
            await asyncio.sleep(1)
