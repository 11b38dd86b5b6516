"""Who is alive: every task says so, and the watchdog is fed only while all of them do."""

import asyncio
import sys


class Supervisor:
    """``ms()`` never jumps; ``feed()`` feeds the watchdog. A task that fails is begun again, and counted."""

    def __init__(self, ms, feed, log=print):
        self._ms = ms
        self._feed = feed
        self._log = log
        self._tasks = {}
        self.failures = 0
        self.last = ""

    def beat(self, name, patience=None):
        """``name`` is alive, and has to say so again within ``patience`` milliseconds (as before when ``None``)."""
        if patience is None:
            patience = self._tasks[name][1] if name in self._tasks else 30000
        self._tasks[name] = (self._ms(), patience)

    def late(self):
        """Names of those that were not heard of in time."""
        now = self._ms()
        return [name for name in self._tasks if now - self._tasks[name][0] > self._tasks[name][1]]

    def look(self):
        """Feed the watchdog when all are alive; whether they are."""
        late = self.late()
        if late:
            self._log("supervisor: not heard of", late)
            return False
        self._feed()
        return True

    async def keep(self, name, make, patience=30000):
        """Run ``make()``: a failure is told, and it begins again a second later, for ever.

        One that fails again at once is not counted as alive, so that the watchdog ends it.
        """
        self.beat(name, patience)
        while True:
            began = self._ms()
            try:
                await make()
                # It has nothing to do any more.
                del self._tasks[name]
                return
            except asyncio.CancelledError:
                raise
            except Exception as problem:
                self.failures += 1
                self.last = "%s: %r" % (name, problem)
                self._log("supervisor:", self.last)
                if hasattr(sys, "print_exception"):
                    sys.print_exception(problem)
            if self._ms() - began > 5000:
                self.beat(name)
            await asyncio.sleep(1)
