"""A client of HTTP/1.1, one request a connection. Loaded when it is needed."""

import asyncio
import json

from late import late


PIECE = 512
_HEAD = 2048


def split(url):
    """Whether it is secure, host, port, path. Raises OSError."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in ("http", "https"):
        raise OSError("not an address: " + url[:40])
    place, _, path = rest.partition("/")
    host, _, port = place.partition(":")
    secure = scheme == "https"
    try:
        return secure, host, int(port or (443 if secure else 80)), "/" + path
    except ValueError:
        raise OSError("not a port: " + port[:10])


class _Body:
    """The rest of an answer: what was read beyond the head, then what comes, each wait at most ``timeout`` seconds."""

    def __init__(self, reader, timeout):
        self._reader = reader
        self._timeout = timeout
        self.held = b""

    async def more(self):
        try:
            data = await asyncio.wait_for(self._reader.read(PIECE), self._timeout)
        except asyncio.TimeoutError:
            raise OSError("timed out")
        self.held += data
        return data

    async def upto(self, mark, most):
        """What stands before ``mark``. Raises OSError when it does not come within ``most`` bytes."""
        while True:
            at = self.held.find(mark)
            if at >= 0:
                found = self.held[:at]
                self.held = self.held[at + len(mark) :]
                return found
            if len(self.held) > most or not await self.more():
                raise OSError("malformed answer")

    async def pieces(self, length, give):
        """Hand ``length`` bytes over; ``None`` is everything until the end."""
        while length is None or length > 0:
            if not self.held and not await self.more():
                if length is None:
                    return
                raise OSError("the answer ended early")
            part = self.held[: PIECE if length is None else min(length, PIECE)]
            self.held = self.held[len(part) :]
            if length is not None:
                length -= len(part)
            give(part)


async def request(method, url, body=None, headers=None, timeout=10, sink=None, limit=4096):
    """Status, headers (names in lower case), body. Raises OSError, also for an answer that is none or too long.

    ``body`` is bytes, or something that becomes JSON. With ``sink`` a 2xx body is given to it in pieces of at most 512
    bytes and is ``b""`` here. ``timeout`` is seconds: with ``sink`` for each piece, without for everything.
    """
    asked = _request(method, url, body, headers, timeout, sink, limit)
    if sink is not None:
        return await asked
    try:
        return await asyncio.wait_for(asked, timeout)
    except asyncio.TimeoutError:
        raise OSError("timed out")


async def _request(method, url, body, headers, timeout, sink, limit):
    secure, host, port, path = split(url)
    head = "%s %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n" % (method, path, host, port)
    for name in headers or ():
        head += "%s: %s\r\n" % (name, headers[name])
    if body is not None:
        if not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
            head += "Content-Type: application/json\r\n"
        head += "Content-Length: %d\r\n" % len(body)
    if "\r" in path or "\n" in path or " " in path:
        raise OSError("not an address")
    reader, writer = await late("net").connect(host, port, secure, timeout)
    try:
        try:
            writer.write(head.encode() + b"\r\n" + (body or b""))
            await writer.drain()
        except ValueError as problem:
            # What MicroPython says of a certificate that it does not accept.
            raise OSError(str(problem).strip())
        return await _answer(_Body(reader, timeout), sink, limit, method == "HEAD")
    finally:
        await late("net").close(writer)


async def _answer(body, sink, limit, bare):
    try:
        lines = (await body.upto(b"\r\n\r\n", _HEAD)).decode().split("\r\n")
        status = int(lines[0].split(" ")[1])
        found = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            found[name.strip().lower()] = value.strip()
        length = found.get("content-length")
        length = None if length is None else int(length)
    except (ValueError, IndexError):
        raise OSError("malformed answer")
    if bare or status in (204, 304):
        return status, found, b""
    kept = []
    size = 0

    def keep(part):
        nonlocal size
        size += len(part)
        if size > limit:
            raise OSError("the answer is longer than %d bytes" % limit)
        kept.append(part)

    give = sink if sink is not None and 200 <= status < 300 else keep
    if found.get("transfer-encoding", "").lower() == "chunked":
        while True:
            try:
                n = int((await body.upto(b"\r\n", 64)).split(b";")[0].decode().strip(), 16)
            except ValueError:
                raise OSError("malformed chunk")
            if not n:
                break
            await body.pieces(n, give)
            await body.upto(b"\r\n", 0)
    else:
        await body.pieces(length, give)
    return status, found, b"".join(kept)
