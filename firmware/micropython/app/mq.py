"""A client of MQTT 3.1.1: quality of service 0 and 1, a last will, bounded in what it holds and in what it takes.

What is said is put into one buffer and leaves in :meth:`Client.flush`; nothing waits for an acknowledgement by itself:
``acked(pid)`` is called when it comes. How a connection begins is in :mod:`mqopen`.
"""

import time

from micropython import const

# An acknowledgement or a sign of life that takes longer means that nobody is there.
_PATIENCE_MS = const(15000)
_IN_FLIGHT = const(8)
_BUFFER = const(4096)


class Refused(Exception):
    """The broker said no: its code (3.2.2.3), or 128 for a subscription."""


def text(value):
    """A string of the protocol (1.5.3)."""
    if isinstance(value, str):
        value = value.encode()
    return len(value).to_bytes(2, "big") + value


class Client:
    """``heard(topic, payload)`` gets what comes, before that is acknowledged; longer messages than ``limit`` are skipped."""

    def __init__(self, heard, acked, keepalive=60, limit=2048):
        self.heard = heard
        self.acked = acked
        self.keepalive = keepalive
        self.limit = limit
        self.read = self.writer = self.asked = None
        self.out = b""
        self.pid = self.sent = self.skipped = 0
        # When what is not acknowledged yet was said.
        self.wait = {}
        self.up = False

    def post(self, kind, body=b""):
        """Say a packet (2.2). Raises OSError when too much waits already."""
        n = len(body)
        if len(self.out) + n > _BUFFER:
            raise OSError("too much to say")
        head = bytes([kind])
        while n > 127:
            head += bytes([n & 127 | 128])
            n >>= 7
        self.out += head + bytes([n]) + body
        self.sent = time.ticks_ms()

    def room(self):
        """Whether another message that is acknowledged may leave."""
        return self.up and len(self.wait) < _IN_FLIGHT and len(self.out) < _BUFFER // 2

    def number(self):
        """A free identifier."""
        while True:
            self.pid = self.pid % 65535 + 1
            if self.pid not in self.wait:
                return self.pid

    def publish(self, topic, payload, qos=0, retain=False):
        """Say something; its identifier, which ``acked`` names later, or 0 at quality 0. Raises OSError."""
        if not self.up or (qos and len(self.wait) >= _IN_FLIGHT):
            raise OSError("too much in flight" if self.up else "not connected")
        pid = self.number() if qos else 0
        if isinstance(payload, str):
            payload = payload.encode()
        self.post(48 | qos << 1 | bool(retain), text(topic) + (pid.to_bytes(2, "big") if qos else b"") + payload)
        if qos:
            self.wait[pid] = self.sent
        return pid

    async def flush(self):
        """Send what was said. For one task alone. Raises OSError."""
        while self.out:
            data, self.out = self.out, b""
            self.writer.write(data)
            await self.writer.drain()

    def tick(self):
        """Called every second or so: signs of life, and whether the other side gives some. Raises OSError."""
        now = time.ticks_ms()
        since = list(self.wait.values())
        if self.asked is not None:
            since.append(self.asked)
        elif time.ticks_diff(now, self.sent) >= self.keepalive * 500:
            self.post(0xC0)
            self.asked = now
        for moment in since:
            if time.ticks_diff(now, moment) > _PATIENCE_MS:
                raise OSError("the broker does not answer")

    async def one(self):
        """Take one packet. Raises OSError, EOFError and :class:`Refused`."""
        read = self.read
        kind = (await read(1))[0]
        n = shift = 0
        while True:
            byte = (await read(1))[0]
            n |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 21:
                raise OSError("malformed length")
        if kind >> 4 == 3:
            qos = kind >> 1 & 3
            size = int.from_bytes(await read(2), "big")
            n -= 2 + size + 2 * qos
            if qos > 1 or size > 512 or n < 0:
                raise OSError("malformed message")
            topic = (await read(size)).decode()
            pid = await read(2) if qos else None
            if n > self.limit:
                self.skipped += 1
                while n:
                    n -= len(await read(min(n, 256)))
            else:
                self.heard(topic, await read(n) if n else b"")
            if pid:
                self.post(0x40, pid)
            return
        if n > 64:
            raise OSError("malformed packet")
        body = await read(n) if n else b""
        pid = int.from_bytes(body[:2], "big")
        if kind == 0x40:
            if self.wait.pop(pid, None) is not None:
                self.acked(pid)
        elif kind == 0x90 and n > 2:
            self.wait.pop(pid, None)
            if max(body[2:]) > 2:
                raise Refused(128)
        elif kind == 0xD0:
            self.asked = None
        else:
            raise OSError("unexpected packet")
