"""Contract hidrometro: a water meter on MQTT. Its words are in :mod:`hidrometro_words`, how it connects in
:mod:`hidrometro_join`.

Every reading is said at once while somebody listens; every thirtieth waits in the outbox until it is stored, also
through an outage: the total goes on, so nothing of what flowed is missing.
"""

import flow
import json
import mq
from late import late
from micropython import const
from session import Session

_SAVE_MS = const(60000)
_DEBOUNCE_MS = const(50)
_KEPT_EVERY = const(30)


def reading(app, total, now, unix):
    """The text of a reading (section 3.1); ``unix`` is seconds, 0 when nobody knows."""
    text = '{"totalLiters": %s, "flowLmin": %s' % (flow.litres(total), flow.a_minute(now))
    if app.get("device_uuid"):
        text += ', "numeroSerie": %s' % json.dumps(app.get("device_uuid").strip().upper())
    return text + (', "ts": %d}' % unix if unix else "}")


class Contract(Session):
    """See the module; :func:`hidrometro_join.begin` gives it sensor, button, lamp and what it knew before."""

    Refused = mq.Refused

    def __init__(self, owner):
        super().__init__(owner)
        self.taken = self.saved = owner.clock.ms()
        self.samples = 0
        # When the button went down; -1 when that was heeded.
        self.down = None

    def heard(self, topic, payload):
        if topic == self.app.get("topic_cmd"):
            late("hidrometro_words").command(self, payload)

    def beat(self):
        """A meter's readings are its signs of life."""
        return True

    def measure(self):
        """Let what flowed since the last time count."""
        now = self.app.clock.ms()
        self.flow.take(self.pulses(), now - self.taken)
        self.taken = now
        self.lamp(0, self.flow.flow > 0)

    def sample(self):
        self.measure()
        now = self.flow
        self.samples += 1
        if self.samples % _KEPT_EVERY == 1:
            return {"total": now.total, "flow": now.flow}
        if self.client is not None:
            self.say(self.app.get("topic_dados"), reading(self.app, now.total, now.flow, self.app.clock.unix()), 0)
        return {}

    def reading(self, entry):
        values = json.loads(entry[4])
        at = late("joining").taken(self.app, entry) // 1000
        return self.app.get("topic_dados"), reading(self.app, values["total"], values["flow"], at), 1

    def tick(self):
        now = self.app.clock.ms()
        if self.button():
            self.down = None
        elif self.down is None:
            self.down = now
        elif 0 <= self.down <= now - _DEBOUNCE_MS:
            self.down = -1
            self.flow.simulated = 0 if self.flow.simulated else flow.SIMULATED
        if now - self.saved >= _SAVE_MS:
            self.save()

    def save(self):
        """Keep the total and the calibration, when they changed."""
        self.saved = self.app.clock.ms()
        late("hidrometro_words").keep(self)

    async def end(self, politely=False):
        self.app.values["mqtt_connected"] = False
        if politely:
            # The board stops, or it begins anew.
            self.measure()
            self.save()
        await super().end(politely)
