"""A life at the broker, from when it is connected to when that ends. A contract fills in the words."""

import asyncio

import mq
from late import late
from micropython import const

_HEARTBEAT_MS = const(30000)
_SAYING_S = const(10)
# What is said goes out within this time, and what comes is looked at at once.
_ROUND_MS = const(40)


class Session:
    """What a contract gives: ``beat()``, ``heard(topic, payload)``, ``reading(entry)`` (topic, payload, quality), and a
    module, its name followed by ``_join``, with ``ident(contract)``, ``broker(contract)`` (host, port, user, password, secure),
    ``will(contract)``, ``topics(contract)`` and ``hello(contract)``.
    """

    def __init__(self, app):
        self.app = app
        self.client = self.task = self.problem = None
        self.beaten = 0

    def say(self, topic, payload, qos=1, retain=False):
        """Say something now; whether it is on its way."""
        try:
            self.client.publish(topic, payload, qos, retain)
            return True
        except (OSError, AttributeError):
            # Not connected.
            return False

    async def connect(self):
        """Be connected, announced and listening. Raises OSError and :class:`mq.Refused`."""
        await late("mqopen").begin(self)

    def hear(self, topic, payload):
        if self.app.debug:
            self.app.log("heard:", topic, payload)
        try:
            self.heard(topic, payload)
        except Exception as problem:
            # One message that nobody expected ends no connection.
            self.app.sup.failed("message", problem)

    async def take(self, client):
        try:
            while True:
                await client.one()
        except (OSError, EOFError, mq.Refused) as problem:
            client.up = False
            self.problem = problem

    async def end(self, politely=False):
        """Close what is open."""
        await late("mqopen").end(self, politely)

    async def live(self):
        """Until the connection ends, which raises OSError or :class:`mq.Refused`, or everything has to begin anew."""
        app, client = self.app, self.client
        outbox = app.outbox
        looked = app.clock.ms()
        try:
            while not app.again:
                now = app.clock.ms()
                if self.problem is not None:
                    raise self.problem if self.problem.args else OSError("the connection was closed")
                if now - self.beaten >= _HEARTBEAT_MS:
                    self.beaten = now
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
                    if not app.station.joined():
                        raise OSError("the network is gone")
                    await self.meanwhile()
                if client.out:
                    try:
                        await asyncio.wait_for(client.flush(), _SAYING_S)
                    except asyncio.TimeoutError:
                        raise OSError("the broker takes nothing")
                await asyncio.sleep(_ROUND_MS / 1000)
        finally:
            await self.end(app.again)

    async def meanwhile(self):
        """Once a second while the connection is there."""
