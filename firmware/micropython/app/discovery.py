"""Finds the server in the board's network: one question by multicast DNS for ``_relevo._tcp.local`` (RFC 6762, 5.1 and
5.4), asked three times, from a port of its own so that the answer comes to the board alone.
"""

import asyncio
import os
import select
import socket

SERVICE = "_relevo._tcp.local"
GROUP = "224.0.0.251"
PORT = 5353
ROUNDS = 3
_RECORDS_MOST = 64


def question(ident):
    """The packet that asks; ``ident`` is two bytes."""
    name = b"".join(bytes([len(part)]) + part.encode() for part in SERVICE.split("."))
    # PTR, IN, and the bit that asks for an answer to the asker alone.
    return ident + b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x00\x0c\x80\x01"


def _name(packet, at):
    """A name in lower case, and where it ends. Raises IndexError and ValueError."""
    parts = []
    end = None
    for _ in range(32):
        size = packet[at]
        if size > 191:
            if end is None:
                end = at + 2
            at = (size & 63) << 8 | packet[at + 1]
        elif size > 63:
            raise ValueError("name")
        elif size:
            parts.append(packet[at + 1 : at + 1 + size].decode().lower())
            at += size + 1
        else:
            return ".".join(parts), end if end is not None else at + 1
    raise ValueError("name")


def found(packet, ident):
    """Address and port of the server in an answer, or ``None``. Raises IndexError and ValueError for a malformed one."""
    if len(packet) < 12 or packet[:2] not in (ident, b"\x00\x00") or not packet[2] & 128:
        return None
    questions, answers, authority, more = [int.from_bytes(packet[at : at + 2], "big") for at in (4, 6, 8, 10)]
    at = 12
    for _ in range(questions):
        at = _name(packet, at)[1] + 4
    services, places, addresses = [], {}, {}
    for _ in range(min(answers + authority + more, _RECORDS_MOST)):
        name, at = _name(packet, at)
        kind = int.from_bytes(packet[at : at + 2], "big")
        size = int.from_bytes(packet[at + 8 : at + 10], "big")
        at += 10
        if at + size > len(packet):
            raise ValueError("length")
        if kind == 12 and name == SERVICE:
            services.append(_name(packet, at)[0])
        elif kind == 33 and size > 6:
            places[name] = int.from_bytes(packet[at + 4 : at + 6], "big"), _name(packet, at + 6)[0]
        elif kind == 1 and size == 4:
            addresses[name] = "%d.%d.%d.%d" % tuple(packet[at : at + 4])
        at += size
    for service in services:
        port, host = places.get(service, (0, ""))
        if port and host in addresses:
            return addresses[host], port
    return None


async def find(group=GROUP, port=PORT):
    """Address and port of a server. Raises OSError when none answers."""
    place = socket.getaddrinfo(group, port, 0, socket.SOCK_DGRAM)[0]
    sock = socket.socket(place[0], socket.SOCK_DGRAM)
    ident = os.urandom(2)
    try:
        sock.setblocking(False)
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        for _ in range(ROUNDS):
            sock.sendto(question(ident), place[-1])
            for _ in range(20):
                await asyncio.sleep(0.05)
                while poll.poll(0):
                    try:
                        server = found(sock.recvfrom(1500)[0], ident)
                    except (IndexError, ValueError):
                        # Whatever somebody else says there.
                        continue
                    if server:
                        return server
    finally:
        sock.close()
    raise OSError("no server answers in this network")
