"""Connections that never block: the one place where sockets are opened towards others."""

import asyncio
import select
import socket


async def connect(host, port, secure=False, timeout=10):
    """A reader and a writer as :mod:`asyncio` has them. Raises OSError; nothing stays open then.

    With ``secure`` it speaks TLS (:mod:`trust`), and nothing is sent before the other side has shown who it is.
    """
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    sock = socket.socket(address[0], address[1], address[2])
    try:
        sock.setblocking(False)
        try:
            sock.connect(address[-1])
        except OSError as problem:
            # In progress: Linux, ESP32, macOS.
            if problem.errno not in (115, 119, 36):
                raise
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        for _ in range(timeout * 50):
            found = poll.poll(0)
            if found:
                if found[0][1] & (select.POLLERR | select.POLLHUP):
                    raise OSError("nobody takes a connection there")
                break
            await asyncio.sleep(0.02)
        else:
            raise OSError("timed out")
        if secure:
            from late import late

            sock = late("trust").wrap(sock, host)
        return await streams(sock)
    except BaseException:
        sock.close()
        raise


async def streams(sock):
    """Reader and writer of a socket that is connected."""
    if hasattr(asyncio, "open_unix_connection"):
        return await asyncio.open_connection(sock=sock)
    stream = asyncio.StreamReader(sock)
    return stream, stream


def listen(port):
    """A socket that takes connections. Raises OSError."""
    address = socket.getaddrinfo("0.0.0.0", port, 0, socket.SOCK_STREAM)[0]
    sock = socket.socket(address[0], address[1], address[2])
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address[-1])
        sock.listen(4)
        return sock
    except OSError:
        sock.close()
        raise


async def close(writer):
    """End a connection, in whatever state it is."""
    try:
        writer.close()
        await writer.wait_closed()
    except OSError:
        pass
