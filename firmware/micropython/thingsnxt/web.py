"""HTTP/1.0 over a socket, as little as this contract needs: short bodies, five seconds."""

import json
import socket

TIMEOUT_S = 5
_MOST = 4_096


class Refused(OSError):
    """The address must not be spoken to in plain HTTP."""


def is_private(host):
    """Whether ``host`` is an address of a private network; a name is not."""
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        return False
    a, b = int(parts[0]), int(parts[1])
    return a in (10, 127) or (a == 172 and 16 <= b < 32) or (a == 192 and b == 168) or (a == 169 and b == 254)


def wrap(sock, host):
    """TLS that checks the server's certificate against ``ca.der`` on the board."""
    import tls

    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    with open("ca.der", "rb") as file:
        context.load_verify_locations(file.read())
    context.verify_mode = tls.CERT_REQUIRED
    return context.wrap_socket(sock, server_hostname=host)


def request(method, url, headers, body=None, plain=False):
    """Status, headers by lower-case name, and the decoded body, ``None`` for what is no JSON. Raises OSError."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    host, _, port = place.partition(":")
    if scheme == "http" and not plain and not is_private(host):
        raise Refused("plain HTTP is for private addresses")
    content = json.dumps(body).encode() if body is not None else b""
    address = socket.getaddrinfo(host, int(port or (443 if scheme == "https" else 80)), 0, socket.SOCK_STREAM)[0]
    sock = socket.socket(address[0], address[1], address[2])
    try:
        sock.settimeout(TIMEOUT_S)
        sock.connect(address[-1])
        stream = wrap(sock, host) if scheme == "https" else sock
        head = "%s /%s HTTP/1.0\r\nHost: %s\r\n" % (method, path, place)
        for name, value in headers.items():
            head += "%s: %s\r\n" % (name, value)
        if body is not None:
            head += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
        message = head.encode() + b"\r\n" + content
        write = stream.write if hasattr(stream, "write") else stream.sendall
        read = stream.read if hasattr(stream, "read") else stream.recv
        write(message)
        answer = b""
        while len(answer) < _MOST:
            part = read(512)
            if not part:
                break
            answer += part
    finally:
        sock.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    status = int(lines[0].split(" ")[1])
    found = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    try:
        return status, found, json.loads(content)
    except ValueError:
        return status, found, None
