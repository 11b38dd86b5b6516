"""Contract native: a board that measures, obeys commands and becomes what it is desired to be. Its words are in
:mod:`native_words`, how it connects in :mod:`native_join`.
"""

import mq
from late import late
from session import Session


class Contract(Session):
    """See the module; :func:`native_join.begin` gives it sensors and outputs."""

    Refused = mq.Refused

    def __init__(self, owner):
        super().__init__(owner)
        self.done = late("commands").load()

    def topic(self, channel):
        return "relevo/%s/%s" % (self.app.get("device_uuid"), channel)

    def heard(self, topic, payload):
        late("native_words").heard(self, topic, payload)

    def beat(self):
        """The broker sees by itself that the connection lives."""
        return True

    def sample(self):
        """What is measured every now and then."""
        values = late("sensors").read(self.sensors, self.app.log)
        if values:
            values["wifi_rssi"] = self.app.station.rssi()
            if self.app.outbox.dropped:
                values["outbox_dropped"] = self.app.outbox.dropped
        return values

    def reading(self, entry):
        return self.topic("telemetry"), late("native_words").entry(self.app, entry), 1

    def tick(self):
        """Outputs stay as they are."""

    async def end(self, politely=False):
        self.app.values["mqtt_connected"] = False
        await super().end(politely)
