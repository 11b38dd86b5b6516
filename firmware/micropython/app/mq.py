"""A client of MQTT 3.1.1: quality of service 0 and 1, a last will, bounded in what it holds and in what it takes.

What is said is put into one buffer and leaves in :meth:`Client.flush`; nothing waits for an acknowledgement by itself:
``acked(pid)`` is called when it comes.
"""

import asyncio
import net
import time

# An acknowledgement or a sign of life that takes longer means that nobody is there.
PATIENCE_MS = 15000
IN_FLIGHT = 8
_BUFFER = 4096


class Refused(Exception):
    """The broker said no: its code (3.2.2.3), or 128 for a subscription."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code

    def credentials(self):
        return self.code in (4, 5)


def _text(text):
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def packet(kind, body):
    """A packet with its length (2.2.3)."""
    n = len(body)
    head = bytes([kind])
    while True:
        head += bytes([n & 127 | (128 if n > 127 else 0)])
        n >>= 7
        if not n:
            return head + body


class Client:
    """``heard(topic, payload)`` gets what comes, before that is acknowledged; longer messages than ``limit`` are skipped."""

    def __init__(self, ident, heard, acked, keepalive=60, limit=2048):
        self._ident = ident
        self._heard = heard
        self._acked = acked
        self._keepalive = keepalive
        self._limit = limit
        self._reader = self._writer = None
        self._out = b""
        self._pid = 0
        self._wait = {}
        self._sent = self._asked = None
        self.up = False
        self.skipped = 0

    async def open(self, host, port, user=None, password=None, will=None, topics=(), secure=False, timeout=10):
        """Connect and subscribe at quality 1. Raises OSError, and :class:`Refused`. ``will`` is a topic and a payload."""
        self._out = b""
        self._wait.clear()
        self._asked = None
        self._reader, self._writer = await net.connect(host, port, secure, timeout)
        try:
            await asyncio.wait_for(self._greet(user, password, will, topics), timeout)
        except BaseException as problem:
            await self.close()
            if isinstance(problem, (EOFError, asyncio.TimeoutError)):
                raise OSError("the broker does not answer")
            raise
        self.up = True

    async def _greet(self, user, password, will, topics):
        flags = 2
        body = _text(self._ident)
        if will:
            # Quality 1, retained: it stays until the board says something else.
            flags |= 44
            body += _text(will[0]) + _text(will[1])
        if user is not None:
            flags |= 128
            body += _text(user)
            if password is not None:
                flags |= 64
                body += _text(password)
        self._post(packet(16, _text("MQTT") + bytes([4, flags]) + self._keepalive.to_bytes(2, "big") + body))
        await self.flush()
        kind, length = await self._head()
        if kind != 32 or length != 2:
            raise OSError("not an MQTT broker")
        code = (await self._reader.readexactly(2))[1]
        if code:
            raise Refused(code)
        if topics:
            pid = self._next()
            self._wait[pid] = None
            body = b"".join(_text(topic) + b"\x01" for topic in topics)
            self._post(packet(130, pid.to_bytes(2, "big") + body))
            await self.flush()
            while pid in self._wait:
                await self._one()

    def _next(self):
        while True:
            self._pid = self._pid % 65535 + 1
            if self._pid not in self._wait:
                return self._pid

    def _post(self, data):
        if len(self._out) + len(data) > _BUFFER:
            raise OSError("too much to say")
        self._out += data
        self._sent = time.ticks_ms()

    def room(self):
        """Whether another message that is acknowledged may leave."""
        return self.up and len(self._wait) < IN_FLIGHT and len(self._out) < _BUFFER // 2

    def publish(self, topic, payload, qos=0, retain=False):
        """Say something; its identifier, which ``acked`` names later, or 0 at quality 0. Raises OSError."""
        if not self.up or (qos and len(self._wait) >= IN_FLIGHT):
            raise OSError("not connected" if not self.up else "too much in flight")
        pid = self._next() if qos else 0
        if isinstance(payload, str):
            payload = payload.encode()
        self._post(
            packet(48 | qos << 1 | bool(retain), _text(topic) + (pid.to_bytes(2, "big") if qos else b"") + payload)
        )
        if qos:
            self._wait[pid] = self._sent
        return pid

    async def flush(self):
        """Send what was said. For one task alone. Raises OSError."""
        while self._out:
            data, self._out = self._out, b""
            self._writer.write(data)
            await self._writer.drain()

    def tick(self):
        """Called every second or so: signs of life, and whether the other side gives some. Raises OSError."""
        now = time.ticks_ms()
        for pid in self._wait:
            if time.ticks_diff(now, self._wait[pid]) > PATIENCE_MS:
                raise OSError("no acknowledgement")
        if self._asked is not None:
            if time.ticks_diff(now, self._asked) > PATIENCE_MS:
                raise OSError("no sign of life")
        elif time.ticks_diff(now, self._sent) >= self._keepalive * 500:
            self._post(b"\xc0\x00")
            self._asked = now

    async def run(self):
        """Take what comes, until the connection ends. Raises OSError."""
        try:
            while True:
                await self._one()
        except EOFError:
            raise OSError("the broker closed the connection")
        finally:
            self.up = False

    async def _head(self):
        read = self._reader.readexactly
        kind = (await read(1))[0]
        length = shift = 0
        while True:
            byte = (await read(1))[0]
            length |= (byte & 127) << shift
            if byte < 128:
                return kind, length
            shift += 7
            if shift > 21:
                raise OSError("malformed length")

    async def _one(self):
        kind, length = await self._head()
        if kind >> 4 == 3:
            await self._message(kind, length)
            return
        if length > 64:
            raise OSError("malformed packet")
        body = await self._reader.readexactly(length) if length else b""
        if kind == 64 and length == 2:
            pid = int.from_bytes(body, "big")
            if self._wait.pop(pid, None) is not None:
                self._acked(pid)
        elif kind == 144 and length > 2:
            self._wait.pop(int.from_bytes(body[:2], "big"), None)
            if max(body[2:]) > 2:
                raise Refused(128)
        elif kind == 208:
            self._asked = None
        else:
            raise OSError("unexpected packet")

    async def _message(self, kind, length):
        qos = kind >> 1 & 3
        if qos > 1 or length < 2:
            raise OSError("malformed message")
        read = self._reader.readexactly
        size = int.from_bytes(await read(2), "big")
        rest = length - 2 - size - 2 * qos
        if size > 512 or rest < 0:
            raise OSError("malformed topic")
        topic = (await read(size)).decode()
        pid = await read(2) if qos else None
        if rest > self._limit:
            self.skipped += 1
            while rest:
                rest -= len(await read(min(rest, 256)))
        else:
            self._heard(topic, await read(rest) if rest else b"")
        if pid:
            self._post(b"\x40\x02" + pid)

    async def close(self, politely=False):
        """End the connection; ``politely`` the last will is not told."""
        self.up = False
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            if politely:
                try:
                    writer.write(b"\xe0\x00")
                    await writer.drain()
                except OSError:
                    pass
            await net.close(writer)
