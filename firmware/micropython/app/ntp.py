"""The time of day from the network (RFC 5905, client of one question). Loaded when it is needed."""

import asyncio
import select
import socket

# Seconds from 1900 to 1970.
_ERA = 2208988800


def seconds(packet):
    """Seconds since 1970 from an answer. Raises ValueError for what is none."""
    if len(packet) < 48 or packet[0] & 7 != 4 or not 1 <= packet[1] <= 15:
        raise ValueError("ntp")
    told = int.from_bytes(packet[40:44], "big")
    # The era after this one begins in 2036.
    return told - _ERA if told >= _ERA else told + 4294967296 - _ERA


async def ask(host="pool.ntp.org", port=123, timeout=3):
    """Seconds since 1970. Raises OSError and ValueError."""
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
    sock = socket.socket(address[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.sendto(b"\x23" + bytes(47), address[-1])
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        for _ in range(timeout * 20):
            if poll.poll(0):
                return seconds(sock.recvfrom(64)[0])
            await asyncio.sleep(0.05)
    finally:
        sock.close()
    raise OSError("no answer")
