"""A life at the broker: connect, say who is there, and go on until the connection ends. A contract fills in the words."""

import asyncio
import mq

HEARTBEAT_MS = 30000
SAYING_S = 10
# What is said goes out within this time, and what comes is looked at at once.
ROUND_S = 0.04


class Session:
    """What a contract gives: ``ident``, ``broker()`` (host, port, secure, user, password), ``will()``, ``topics()``,
    ``hello()``, ``beat()``, ``heard(topic, payload)``, ``reading(entry)`` (topic, payload, quality).
    """

    def __init__(self, app):
        self.app = app
        self.client = None
        self._beat_at = 0
        self._task = None
        self._lost = None

    def online(self):
        return self.client is not None and self.client.up

    def say(self, topic, payload, qos=1, retain=False):
        """Say something now; whether it is on its way."""
        if not self.online():
            return False
        try:
            self.client.publish(topic, payload, qos, retain)
        except OSError as problem:
            self.app.log("mqtt:", problem)
            return False
        return True

    async def connect(self):
        """Be connected, announced and listening. Raises OSError and :class:`mq.Refused`."""
        host, port, secure, user, password = self.broker()
        if not host:
            raise OSError("no broker is known")
        await self.end()
        client = mq.Client(self.ident(), self._hear, self.app.outbox.acked, 2 * HEARTBEAT_MS // 1000)
        self._lost = None
        await client.open(host, port, user, password, self.will(), self.topics(), secure)
        self.client = client
        self._task = asyncio.create_task(self._take(client))
        self.hello()
        self.beaten()
        await client.flush()

    def _hear(self, topic, payload):
        try:
            self.heard(topic, payload)
        except Exception as problem:
            # One message that nobody expected ends no connection.
            self.app.sup.failures += 1
            self.app.log("mqtt: message:", repr(problem))

    def beaten(self):
        self._beat_at = self.app.clock.ms()

    async def _take(self, client):
        try:
            await client.run()
        except (OSError, mq.Refused) as problem:
            self._lost = problem

    async def end(self, politely=False):
        """Close what is open."""
        client, self.client = self.client, None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if client is not None:
            self.app.outbox.lost()
            await client.close(politely)

    async def live(self):
        """Until the connection ends, which raises OSError, or the settings changed. Raises :class:`mq.Refused`."""
        app, outbox = self.app, self.app.outbox
        await self.connect()
        client = self.client
        app.enter("online")
        looked = app.clock.ms()
        try:
            while not app.again:
                if self._lost is not None:
                    raise self._lost
                now = app.clock.ms()
                if now - self._beat_at >= HEARTBEAT_MS:
                    self.beaten()
                    self.beat()
                while client.room():
                    entry = outbox.next()
                    if entry is None:
                        break
                    entry[5] = client.publish(*self.reading(entry))
                if now - looked >= 1000:
                    looked = now
                    client.tick()
                    app.sup.beat("life")
                    if not app.wifi.joined():
                        raise OSError("the network is gone")
                    await self.meanwhile()
                try:
                    await asyncio.wait_for(client.flush(), SAYING_S)
                except asyncio.TimeoutError:
                    raise OSError("the broker takes nothing")
                await asyncio.sleep(ROUND_S)
        finally:
            await self.end(app.again)

    async def meanwhile(self):
        """Once a second while the connection is there."""
