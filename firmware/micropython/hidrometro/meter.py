"""One meter: what it publishes, what it keeps, what it is told."""

import json

from flow import FACTOR, Flow

SAVE_MS = 60_000
SIMULATED = 8.0
DEBOUNCE_MS = 50


class Meter:
    """``storage`` has ``get(name, default)`` and ``put(values)``; ``mask`` and ``unmask`` stop interrupts.

    ``serial`` is the meter's number, empty for none; ``clock()`` gives Unix seconds, 0 while it is not set.
    """

    def __init__(self, storage, serial, now, mask, unmask, clock=None):
        self._storage = storage
        self._serial = serial.strip().upper()
        self._now = now
        self._mask = mask
        self._unmask = unmask
        self._clock = clock
        self.flow = Flow(_kept(storage, "factor", FACTOR), max(0.0, _kept(storage, "total", 0.0, 0.0)))
        self._taken = self._saved = now()
        self._button = None

    def reading(self):
        """What to publish now, as bytes."""
        now = self._now()
        flow, total = self.flow.take(now - self._taken, self._mask, self._unmask)
        self._taken = now
        if now - self._saved >= SAVE_MS:
            self.save()
        body = {"totalLiters": round(total, 4), "flowLmin": round(flow, 3)}
        if self._serial:
            body["numeroSerie"] = self._serial
        at = self._clock() if self._clock is not None else 0
        if at:
            body["ts"] = at
        return json.dumps(body).encode()

    def save(self):
        self._saved = self._now()
        self._storage.put({"factor": self.flow.factor, "total": self.flow.total})

    def command(self, payload):
        """Do what a message says; whether it was for this meter and made sense."""
        try:
            body = json.loads(payload)
        except ValueError:
            return False
        if not isinstance(body, dict):
            return False
        named = body.get("numeroSerie")
        if named and str(named).strip().upper() != self._serial:
            return False
        action, value = body.get("action"), body.get("value")
        try:
            if action == "reset":
                self.flow.reset()
                self.save()
            elif action == "setCalibration":
                self.flow.calibrate(value)
                self.save()
            elif action in ("simulate", "simSetFlow"):
                self.flow.simulate(SIMULATED if value is None else value)
            elif action in ("simOff", "simulateOff"):
                self.flow.simulate(None)
            else:
                return False
        except (ValueError, TypeError):
            return False
        return True

    def button(self, pressed):
        """Look at the start button, often: a press that lasts 50 ms turns the simulation on or off."""
        now = self._now()
        if not pressed:
            self._button = None
        elif self._button is None:
            self._button = now
        elif self._button >= 0 and now - self._button >= DEBOUNCE_MS:
            self._button = -1
            self.flow.simulate(SIMULATED if self.flow.simulated is None else None)


def _kept(storage, name, default, least=None):
    """A number that was kept, ``default`` for one that cannot be."""
    try:
        value = float(storage.get(name, default))
    except (ValueError, TypeError):
        return default
    usable = value > 0 if least is None else value >= least
    return value if usable and value < 1e12 else default


def topics(config):
    """Where to publish, and what to listen to."""
    data = config.get("topic_dados") or "hidrometro/dados"
    return data, config.get("topic_cmd") or "hidrometro/cmd"
