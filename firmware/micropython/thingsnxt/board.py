"""One board: what it posts, what it polls, what its pins do about it."""

import pace
import web

PINS = {"v0": 2, "v1": 4, "v2": 5, "v3": 18, "v4": 19}
_VALUES = {0: 0, 1: 1}
UNREACHABLE_MOST = 900_000


class Board:
    """``pin(number)`` makes an output with ``value(0 or 1)``; ``sleep(ms)`` and ``now()`` are the clock's.

    ``sensors`` are functions by key that give a number, or ``None`` for nothing now.
    """

    def __init__(self, storage, pin, sensors, sleep, now, random, request=web.request, free=None, signal=None):
        self._storage = storage
        self._pins = {key: pin(number) for key, number in PINS.items()}
        self.states = {key: 0 for key in PINS}
        for output in self._pins.values():
            output.value(0)
        self._sensors = sensors
        self._sleep = sleep
        self._now = now
        self._request = request
        self._free = free
        self._signal = signal
        self.pace = pace.Pace(random)
        self._due = {pace.POLL: 0, pace.TELEMETRY: 0, pace.HEALTH: 0}
        self.stats = {"sent": 0, "failed": 0, "too_many": 0, "last_success": None, "lowest_heap": None}
        self._began = now()
        self.debug = False

    def step(self):
        """Do what is due; how long nothing is due then (milliseconds)."""
        if not self._storage.provisioned():
            return 30_000
        for what, act in ((pace.POLL, self.poll), (pace.TELEMETRY, self.telemetry), (pace.HEALTH, self.health)):
            if self._now() >= self._due[what]:
                act()
                now = self._now()
                self._due[what] = now + self.pace.interval(what, now)
        return max(0, min(self._due.values()) - self._now())

    def poll(self):
        body = self._ask(pace.POLL, "GET", "/telemetry/latest")
        if body is not None and isinstance(body.get("data"), dict):
            self.apply(body["data"])

    def apply(self, data):
        """Let the pins follow; ``led`` stands for ``v0`` where that is absent. Only a change writes a pin."""
        wanted = dict(data)
        if "v0" not in wanted and "led" in wanted:
            wanted["v0"] = wanted["led"]
        for key in PINS:
            value = wanted.get(key)
            state = _VALUES.get(value) if isinstance(value, (int, bool)) else None
            if state is not None and state != self.states[key]:
                self._pins[key].value(state)
                self.states[key] = state

    def telemetry(self):
        data = dict(self.states)
        for key, read in self._sensors.items():
            value = read()
            # A sensor that says nothing, or not a number, is left out.
            if value is not None and value == value and value not in (float("inf"), float("-inf")):
                data[key] = value
        path = "/devices/%s/telemetry" % self._storage.get("device_id")
        body = self._ask(pace.TELEMETRY, "POST", path, {"data": data})
        if body is not None and isinstance(body.get("data"), dict):
            self.apply(body["data"])

    def health(self):
        if self._free is not None:
            heap = self._free()
            lowest = self.stats["lowest_heap"]
            self.stats["lowest_heap"] = heap if lowest is None else min(lowest, heap)
        self._ask(pace.HEALTH, "GET", "/health")

    def lost(self):
        """Whether nothing has worked for so long that a restart is worth a try."""
        return self._now() - (self.stats["last_success"] or self._began) > UNREACHABLE_MOST

    def told(self):
        """Statistics as lines."""
        signal = self._signal() if self._signal is not None else None
        lines = ["%s: %s" % (name, value) for name, value in sorted(self.stats.items())]
        return lines + ["uptime: %d s" % ((self._now() - self._began) // 1000), "signal: %s" % signal]

    def _ask(self, what, method, path, body=None):
        url = self._storage.get("api_url") + path
        headers = {} if what == pace.HEALTH else {"X-Device-Token": self._storage.get("device_token")}
        for retry in range(pace.RETRIES + 1):
            if retry:
                self._sleep(pace.retry_delay(retry - 1))
            self.stats["sent"] += 1
            try:
                status, found, answer = self._request(method, url, headers, body)
            except (OSError, ValueError, IndexError) as error:
                status, found, answer = 0, {}, None
                if self.debug:
                    print(method, path, error)
            if self.debug:
                print(method, path, status)
            if status == 200:
                self.stats["last_success"] = self._now()
                self.pace.worked(what)
                return answer
            self.stats["failed"] += 1
            if status == 429:
                self.stats["too_many"] += 1
                after = found.get("retry-after", "")
                self.pace.too_many(self._now(), int(after) if after.isdigit() else 0)
                return None
            if 400 <= status < 500:
                # It would be refused again.
                break
        self.pace.failed(what)
        return None
