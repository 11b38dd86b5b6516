"""The board's own page: a request in, an answer out. Passwords go in and never come out."""

import json

import web

REQUEST_S = 1
FIELDS = ("wifi_ssid", "wifi_password", "backend_ip", "backend_port", "device_name")
_SECRET = ("wifi_password",)
_PAGE = (
    "<!doctype html><html><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>%s</title></head><body><h1>%s</h1><p>UUID: %s</p><p>MQTT: %s</p>%s"
    "<form method=post action=/config>"
    "<p><label>WiFi <input name=wifi_ssid value='%s'></label></p>"
    "<p><label>Password <input name=wifi_password type=password placeholder='unchanged'></label></p>"
    "<p><label>Backend <input name=backend_ip value='%s'></label></p>"
    "<p><label>Port <input name=backend_port type=number value='%s'></label></p>"
    "<p><label>Name <input name=device_name value='%s'></label></p>"
    "<button>Save</button></form>"
    "<form method=post action=/restart><button>Restart</button></form>"
    "<form method=post action=/reset><button>Forget everything</button></form></body></html>"
)


def escaped(text):
    for mark, word in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&quot;")):
        text = text.replace(mark, word)
    return text


def decoded(text):
    """A value of a form."""
    text = text.replace("+", " ")
    out = b""
    n = 0
    while n < len(text):
        if text[n] == "%" and len(text) > n + 2:
            try:
                out += bytes([int(text[n + 1 : n + 3], 16)])
                n += 3
                continue
            except ValueError:
                pass
        out += text[n].encode()
        n += 1
    return out.decode()


def form(body):
    found = {}
    for pair in body.split("&"):
        name, mark, value = pair.partition("=")
        if mark:
            found[decoded(name)] = decoded(value)
    return found


def connection(settings):
    """The state of MQTT in words."""
    if settings.get("mqtt_connected"):
        return "connected (%s:%s)" % (settings.get("mqtt_broker"), settings.get("mqtt_port"))
    return "disconnected"


def changes(found):
    """Settings that a form asks for. Raises ValueError naming the field."""
    out = {}
    for name in FIELDS:
        value = found.get(name)
        if value is None or (name in _SECRET and not value):
            continue
        value = value.strip() if name not in _SECRET else value
        if name == "backend_port":
            if not value.isdigit() or not 1 <= int(value) <= 65535:
                raise ValueError(name)
            out[name] = int(value)
        elif len(value) > 64 or "\n" in value or "\r" in value:
            raise ValueError(name)
        else:
            out[name] = value
    return out


class Page:
    """``standing()`` is what ``/api/status`` shows; ``restart()`` and ``reset()`` do what they say, after the answer."""

    def __init__(self, settings, standing, restart, reset):
        self._settings = settings
        self._standing = standing
        self._restart = restart
        self._reset = reset

    def handle(self, method, path, body):
        """Status, content type, text, and what to do when that was sent (or ``None``)."""
        path = path.split("?")[0]
        if (method, path) == ("GET", "/"):
            return 200, "text/html; charset=utf-8", self.shown(), None
        if (method, path) == ("GET", "/api/status"):
            return 200, "application/json", json.dumps(self._standing()), None
        if (method, path) == ("POST", "/config"):
            try:
                wanted = changes(form(body))
                if wanted.get("wifi_ssid") or self._settings.get("wifi_ssid"):
                    wanted["configured"] = True
                self._settings.put(**wanted)
            except (ValueError, UnicodeError) as problem:
                return 400, "text/html; charset=utf-8", self.shown("Not saved: %s" % problem), None
            return 200, "text/html; charset=utf-8", self.shown("Saved; restart to use it."), None
        if method == "POST" and path in ("/restart", "/reboot"):
            return 200, "text/plain", "restarting", self._restart
        if (method, path) == ("POST", "/reset"):
            return 200, "text/plain", "everything is forgotten", self._reset
        return 404, "text/plain", "not found", None

    def shown(self, note=""):
        get = self._settings.get
        name = escaped(get("device_name"))
        return _PAGE % (
            name,
            name,
            escaped(get("device_uuid")),
            escaped(connection(self._settings)),
            "<p>%s</p>" % escaped(note) if note else "",
            escaped(get("wifi_ssid")),
            escaped(get("backend_ip")),
            get("backend_port"),
            name,
        )


class LocalServer:
    """One request at a time over a listening socket, each at most a second; ``bind`` raises OSError."""

    def __init__(self, page, sockets, port=80):
        self._page = page
        self._sock = sockets.socket()
        try:
            self._sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            self._sock.bind(sockets.getaddrinfo("0.0.0.0", port)[0][-1])
            self._sock.listen(2)
            self._sock.settimeout(0)
        except OSError:
            self._sock.close()
            raise

    def serve_one(self):
        """Answer whoever waits; true when somebody did."""
        try:
            client = self._sock.accept()[0]
        except OSError:
            return False
        after = None
        try:
            client.settimeout(REQUEST_S)
            method, path, body = _read(client, web.Deadline(REQUEST_S))
            status, kind, text, after = self._page.handle(method, path, body)
            data = text.encode()
            head = "HTTP/1.0 %d x\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            web.send_all(client, (head % (status, kind, len(data))).encode() + data)
        except (OSError, ValueError, IndexError):
            after = None
        finally:
            client.close()
        if after is not None:
            after()
        return True

    def close(self):
        self._sock.close()


def _read(client, deadline):
    """Method, path and body. Raises OSError, ValueError and IndexError."""
    data = b""
    while b"\r\n\r\n" not in data:
        client.settimeout(deadline.left())
        part = client.recv(512)
        if not part or len(data) > 2048:
            raise ValueError("request")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = 0
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            length = int(value)
    if length > 2048:
        raise ValueError("length")
    while len(body) < length:
        client.settimeout(deadline.left())
        part = client.recv(512)
        if not part:
            break
        body += part
    parts = lines[0].split(" ")
    return parts[0], parts[1], body.decode()
