"""How a connection to a broker begins (MQTT 3.1.1, sections 3.1, 3.2, 3.8 and 3.9). Loaded when it is needed."""

import asyncio

import mq
from late import late


async def begin(session):
    """Connect a contract's ``session`` and let it say hello. Raises OSError and :class:`mq.Refused`."""
    words = late(session.app.name + "_join")
    host, port, user, password, secure = words.broker(session)
    if not host:
        raise OSError("no broker is known")
    await session.end()
    client = mq.Client(session.hear, session.app.outbox.acked)
    await connect(
        client, words.ident(session), host, port, user, password, words.will(session), words.topics(session), secure
    )
    session.client = client
    session.problem = None
    session.task = asyncio.create_task(session.take(client))
    session.beaten = session.app.clock.ms()
    words.hello(session)
    await client.flush()


async def connect(
    client, ident, host, port, user=None, password=None, will=None, topics=(), secure=False, timeout=10
):
    """Connect and subscribe at quality 1. Raises OSError, and :class:`mq.Refused`. ``will`` is a topic and a payload."""
    client.out = b""
    client.wait.clear()
    client.asked = None
    reader, client.writer = await late("net").connect(host, port, secure, timeout)
    client.read = reader.readexactly
    try:
        await asyncio.wait_for(_greet(client, ident, user, password, will, topics), timeout)
    except BaseException as problem:
        await close(client)
        if isinstance(problem, (EOFError, asyncio.TimeoutError)):
            raise OSError("the broker does not answer")
        if isinstance(problem, ValueError):
            # What MicroPython says of a certificate that it does not accept.
            raise OSError(str(problem).strip())
        raise
    client.up = True


async def close(client, politely=False):
    """End a connection; ``politely`` the last will is not told."""
    client.up = False
    writer, client.writer, client.read = client.writer, None, None
    if writer is not None:
        if politely:
            try:
                writer.write(b"\xe0\x00")
                await writer.drain()
            except OSError:
                pass
        await late("net").close(writer)


async def end(session, politely=False):
    """Close what a ``session`` has open; what was not acknowledged leaves again."""
    client, session.client = session.client, None
    task, session.task = session.task, None
    if task is not None:
        task.cancel()
    if client is not None:
        for entry in session.app.outbox.head:
            entry[5] = 0
        await close(client, politely)


async def _greet(client, ident, user, password, will, topics):
    text = mq.text
    flags = 2
    body = text(ident)
    if will:
        # Quality 1, retained: it stays until the board says something else.
        flags |= 44
        body += text(will[0]) + text(will[1])
    if user is not None:
        flags |= 128
        body += text(user)
        if password is not None:
            flags |= 64
            body += text(password)
    client.post(0x10, text("MQTT") + bytes([4, flags]) + client.keepalive.to_bytes(2, "big") + body)
    await client.flush()
    head = await client.read(4)
    if head[0] != 0x20 or head[1] != 2:
        raise OSError("not an MQTT broker")
    if head[3]:
        raise mq.Refused(head[3])
    if topics:
        pid = client.number()
        client.wait[pid] = client.sent
        client.post(0x82, pid.to_bytes(2, "big") + b"".join(text(topic) + b"\x01" for topic in topics))
        await client.flush()
        while pid in client.wait:
            await client.one()
