"""The board's own network for the set-up, where every name is the board's: phones open its page by themselves."""

import asyncio
import select
import socket

from late import late

ADDRESS = b"\xc0\xa8\x04\x01"
_ROUND_S = 0.05


def reply(query):
    """The answer to a DNS query (RFC 1035): :data:`ADDRESS` for A, nothing for anything else. Raises ValueError."""
    if len(query) < 17 or len(query) > 512 or query[2] & 0xF8 or query[4:6] != b"\x00\x01":
        raise ValueError("query")
    at = 12
    while query[at]:
        if query[at] > 63 or at + query[at] + 6 > len(query):
            raise ValueError("name")
        at += query[at] + 1
    asked = query[12 : at + 5]
    found = asked[-4:] == b"\x00\x01\x00\x01"
    head = query[:2] + b"\x85\x80\x00\x01" + (b"\x00\x01" if found else b"\x00\x00") + b"\x00\x00\x00\x00"
    return head + asked + (b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + ADDRESS if found else b"")


def open(app):
    """Open the network, once, and answer names in it until it is closed."""
    if app.open:
        return
    app.open = "%s-%s" % (late(app.name + "_join").SETUP, "".join("%02x" % byte for byte in app.hal.mac()[-3:]))
    app.hal.access_point(app.open, app.get("page_password"))
    # On the serial line alone, to whoever has the board in hand.
    app.log("set-up: join", app.open, "with password", app.get("page_password"), "and open http://192.168.4.1")
    app.later(lambda: answer(app))


async def answer(app):
    """Answer names while the network is open. Raises OSError when that cannot be."""
    place = socket.getaddrinfo("0.0.0.0", app.hal.DNS_PORT, 0, socket.SOCK_DGRAM)[0]
    sock = socket.socket(place[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind(place[-1])
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while app.open:
            if poll.poll(0):
                query, sender = sock.recvfrom(512)
                try:
                    sock.sendto(reply(query), sender)
                except (OSError, ValueError, IndexError):
                    pass
            else:
                await asyncio.sleep(_ROUND_S)
    finally:
        sock.close()
