"""Contract autocore: a relay board on MQTT. Its words are in :mod:`autocore_words`, how it registers and connects in
:mod:`autocore_join`.
"""

import json

import mq
from late import late
from session import Session


class Contract(Session):
    """See the module; :func:`autocore_join.begin` gives it relays, inputs and who it is."""

    Refused = mq.Refused

    def __init__(self, owner):
        super().__init__(owner)
        self.fetched = self.asked = None
        self.done = late("commands").load()

    def topic(self, channel):
        get = self.app.get
        return "%s/devices/%s/%s" % (get("mqtt_topic_prefix"), get("device_uuid"), channel)

    async def meanwhile(self):
        # Who was not let in asks again now and then, while everything else goes on.
        if not self.app.get("backend_registered"):
            await late("autocore_join").again(self)

    async def end(self, politely=False):
        self.app.values["mqtt_connected"] = False
        await super().end(politely)

    def beat(self):
        """Say how the board is; kept by the broker in the place of the last will. Whether that left."""
        return self.say(self.topic("status"), json.dumps(late("autocore_words").status(self)), 1, True)

    def heard(self, topic, payload):
        late("autocore_words").heard(self, topic, payload)

    def sample(self):
        """What is measured every now and then."""
        values = {"input_%d" % number: read() for number, read in self.inputs}
        if values:
            values["relays_on"] = sum(self.relays.states)
            if self.app.outbox.dropped:
                values["outbox_dropped"] = self.app.outbox.dropped
        return values

    def reading(self, entry):
        return self.topic("telemetry"), late("spill").numbered(self.app.outbox, entry), 1

    def tick(self):
        # A status says that a relay went off by itself.
        if self.relays.tick():
            self.beat()
