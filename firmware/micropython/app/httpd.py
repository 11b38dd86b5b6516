"""The board's own small HTTP server: bounds on what is read, for how long, and for how many at once."""

import asyncio

from late import late

VISITORS_MOST = 3
TIME_S = 5
HEAD_MOST = 1024
BODY_MOST = 1024
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 413: "Too Large", 429: "Wait"}


def admit(app):
    """Take a visitor in."""
    try:
        sock = app.door.accept()[0]
    except OSError:
        return
    if app.visitors < VISITORS_MOST:
        app.visitors += 1
        app.later(lambda: serve(app, sock))
    else:
        sock.close()


async def serve(app, sock):
    """Answer one request; the connection is closed always."""
    after = None
    try:
        sock.setblocking(False)
        reader, writer = await late("net").streams(sock)
        try:
            after = await asyncio.wait_for(_answer(app, reader, writer), TIME_S)
        finally:
            await late("net").close(writer)
    except (OSError, EOFError, asyncio.TimeoutError):
        pass
    finally:
        app.visitors -= 1
    if after is not None:
        app.later(after)


async def request(reader):
    """Method, path, headers (names in lower case), body. Raises ValueError, OverflowError, EOFError and OSError."""
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > HEAD_MOST:
            raise OverflowError
        part = await reader.read(256)
        if not part:
            raise EOFError
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[1].startswith("/"):
        raise ValueError("request")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if length < 0:
        raise ValueError("length")
    if length > BODY_MOST or len(head) > HEAD_MOST:
        raise OverflowError
    if len(body) < length:
        body += await reader.readexactly(length - len(body))
    return parts[0], parts[1], headers, body[:length]


async def _answer(app, reader, writer):
    more, after = "", None
    try:
        method, path, headers, body = await request(reader)
        status, kind, parts, after = late("page").handle(app, method, path, headers, body)
        if status == 302:
            more, parts = "Location: %s\r\n" % parts[0], ()
    except OverflowError:
        status, kind, parts = 413, "text/plain", ("too long",)
    except (ValueError, UnicodeError):
        status, kind, parts = 400, "text/plain", ("not understood",)
    head = (
        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nConnection: close\r\nCache-Control: no-store\r\n"
        "X-Frame-Options: DENY\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
        "form-action 'self'\r\n%sContent-Length: %d\r\n\r\n"
    )
    writer.write((head % (status, REASONS[status], kind, more, sum(len(part.encode()) for part in parts))).encode())
    for part in parts:
        await writer.drain()
        writer.write(part.encode())
    await writer.drain()
    return after
