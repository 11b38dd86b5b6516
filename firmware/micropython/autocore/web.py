"""HTTP to the backend: with ``urequests`` where the firmware has it, otherwise over a plain socket."""

import json
import socket
import time

_MOST = 4096


class Deadline:
    """So many seconds from now, for everything together; :meth:`left` raises OSError when they are over."""

    def __init__(self, seconds):
        self._ms = int(seconds * 1000)
        self._began = _ticks()

    def left(self):
        """Seconds, always above 0."""
        rest = self._ms - _since(self._began)
        if rest <= 0:
            raise OSError("timed out")
        return rest / 1000


def _ticks():
    return time.ticks_ms() if hasattr(time, "ticks_ms") else int(time.monotonic() * 1000)


def _since(began):
    return time.ticks_diff(_ticks(), began) if hasattr(time, "ticks_diff") else _ticks() - began


class Answer:
    """Status, and the text of the body."""

    def __init__(self, status_code, text):
        self.status_code = status_code
        self.text = text

    def json(self):
        """Raises ValueError."""
        return json.loads(self.text)


def send_all(sock, data):
    """Some builds have ``write``, which sends everything, in the place of ``sendall``."""
    if hasattr(sock, "sendall"):
        sock.sendall(data)
    else:
        sock.write(data)


def reachable(host, port, timeout):
    """Whether somebody takes a connection there within ``timeout`` seconds."""
    try:
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        sock = socket.socket(address[0], address[1], address[2])
    except (OSError, IndexError):
        return False
    try:
        sock.settimeout(timeout)
        sock.connect(address[-1])
    except OSError:
        return False
    finally:
        sock.close()
    return True


def request(method, url, body=None, timeout=10, headers=None, library=None):
    """An :class:`Answer`, or ``None`` when there is none for whatever reason. The socket is closed always."""
    headers = dict(headers or {})
    content = None
    if body is not None:
        content = json.dumps(body)
        headers["Content-Type"] = "application/json"
    try:
        if library is not None:
            return _by_library(library, method, url, content, headers, timeout)
        return _by_socket(method, url, content, headers, timeout)
    except (OSError, ValueError, IndexError, AttributeError, NotImplementedError):
        return None


def _by_library(library, method, url, content, headers, timeout):
    found = None
    try:
        more = {"headers": headers, "timeout": timeout}
        if content is not None:
            more["data"] = content
        found = library.request(method, url, **more)
        return Answer(found.status_code, found.text)
    finally:
        if found is not None:
            found.close()


def _by_socket(method, url, content, headers, timeout):
    scheme, _, rest = url.partition("://")
    if scheme != "http":
        return None
    place, _, path = rest.partition("/")
    host, _, port = place.partition(":")
    address = socket.getaddrinfo(host, int(port or 80), 0, socket.SOCK_STREAM)[0]
    deadline = Deadline(timeout)
    sock = socket.socket(address[0], address[1], address[2])
    try:
        sock.settimeout(timeout)
        sock.connect(address[-1])
        data = (content or "").encode()
        head = "%s /%s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n" % (method, path, place)
        for name in headers:
            head += "%s: %s\r\n" % (name, headers[name])
        if content is not None:
            head += "Content-Length: %d\r\n" % len(data)
        send_all(sock, head.encode() + b"\r\n" + data)
        answer = b""
        while len(answer) < _MOST:
            sock.settimeout(deadline.left())
            part = sock.recv(512)
            if not part:
                break
            answer += part
    finally:
        sock.close()
    head, _, text = answer.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ")[1]), text.decode())
