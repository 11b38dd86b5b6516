"""The board's own page: how it is, and settings for whoever knows its password. Passwords go in and never come out."""

import binascii
import json
import os

from late import late

FIELDS = ("wifi_ssid", "wifi_password", "backend_ip", "backend_port", "api_url", "device_name")
LANGUAGES = ("en", "es", "pt")
HTML = "text/html; charset=utf-8"
WRONG_MOST = 5
BARRED_MS = 60000
_STYLE = "body{font:16px sans-serif;max-width:32em;margin:1em auto;padding:0 1em}input{width:100%;font-size:1em}"


def escaped(text):
    for mark, word in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&quot;")):
        text = text.replace(mark, word)
    return text


def decoded(text):
    """A value of a form. Raises UnicodeError."""
    parts = text.replace("+", " ").split("%")
    out = parts[0].encode()
    for part in parts[1:]:
        try:
            out += binascii.unhexlify(part[:2]) + part[2:].encode()
        except ValueError:
            out += b"%" + part.encode()
    return out.decode()


def form(body):
    found = {}
    for pair in body.decode().split("&"):
        name, mark, value = pair.partition("=")
        if mark:
            found[decoded(name)] = decoded(value)
    return found


def language(path, headers):
    """Of the address, otherwise what the browser likes best."""
    told = path.partition("?lang=")[2][:2]
    if told in LANGUAGES:
        return told
    for one in headers.get("accept-language", "").split(","):
        if one.strip()[:2].lower() in LANGUAGES:
            return one.strip()[:2].lower()
    return "en"


def token(app):
    """Stands in every form: a page of somebody else's cannot send one."""
    if not getattr(app, "token", None):
        app.token = binascii.hexlify(os.urandom(12)).decode()
    return app.token


def changes(found):
    """Settings that a form asks for. Raises ValueError naming the field."""
    out = {}
    for name in FIELDS:
        value = found.get(name)
        if value is None or (name == "wifi_password" and not value):
            continue
        if name == "backend_port":
            try:
                value = int(value)
            except ValueError:
                raise ValueError("backend_port must be a whole number from 1 to 65535")
        elif name != "wifi_password":
            value = value.strip()
        out[name] = value
    if out.get("wifi_ssid"):
        out["configured"] = True
    return out


def handle(app, method, path, headers, body):
    """Status, content type, pieces of text, and what to do when they were sent (or ``None``)."""
    texts = late("texts_" + language(path, headers)).TEXTS
    path = path.split("?")[0]
    if method == "GET":
        if path == "/":
            return 200, HTML, shown(app, texts), None
        if path == "/api/status":
            return 200, "application/json", (json.dumps(standing(app)),), None
        more = getattr(late(app.name + "_words"), "answer", None)
        found = more(app.contract, path) if more is not None else None
        if found is not None:
            return 200, "application/json", (found,), None
        if app.open:
            # A phone looks for the internet: this is all there is.
            return 302, HTML, ("http://192.168.4.1/",), None
    if method != "POST" or path not in ("/config", "/restart", "/reboot", "/reset"):
        return 404, "text/plain", ("not found",), None
    found = form(body)
    refused = allowed(app, found, texts)
    if refused:
        return refused[0], HTML, shown(app, texts, refused[1]), None
    if path == "/config":
        try:
            app.put(**changes(found))
        except ValueError as problem:
            return 400, HTML, shown(app, texts, "%s: %s" % (texts["not_saved"], problem)), None
        return 200, HTML, shown(app, texts, texts["saved"]), lambda: _begin_anew(app)
    make = late("make")
    if path == "/reset":
        return 200, "text/plain", (texts["forgotten"],), lambda: make.forget(app)
    return 200, "text/plain", (texts["restarting"],), lambda: make.restart(app)


async def _begin_anew(app):
    app.changed()


def allowed(app, found, texts):
    """``None`` for who sends a form of this page and knows the password; otherwise status and text."""
    now = app.clock.ms()
    barred = getattr(app, "barred", 0)
    if now < barred:
        return 429, texts["wait"]
    if found.get("token") != token(app):
        return 403, texts["again"]
    if found.get("password") != app.get("page_password"):
        app.wrong = getattr(app, "wrong", 0) + 1
        if app.wrong >= WRONG_MOST:
            app.wrong = 0
            app.barred = now + BARRED_MS
        return 403, texts["wrong"]
    app.wrong = 0
    return None


def standing(app):
    """What the page shows to programs."""
    found = late(app.name + "_words").status(app.contract)
    for name in ("device_name", "backend_registered", "mqtt_connected", "mqtt_broker", "mqtt_port"):
        if name in app.values:
            found[name] = app.get(name)
    found["state"] = app.state
    return found


def connection(app, texts):
    """The state of MQTT in words."""
    if app.values.get("mqtt_connected"):
        return "%s (%s:%s)" % (texts["connected"], app.get("mqtt_broker") or app.get("backend_ip"), app.get("mqtt_port"))
    return texts["disconnected"]


def shown(app, texts, note=""):
    """The page in pieces, so that no long text is needed at once."""
    name = escaped(app.get("device_name"))
    secret = "<input name=password type=password autocomplete=off required><input type=hidden name=token value=%s>" % token(app)
    yours = "<p><label>%s %s</label></p>" % (texts["password"], secret)
    parts = [
        "<!doctype html><html lang=%s><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>%s</title><style>%s</style><h1>%s</h1>" % (texts["lang"], name, _STYLE, name),
        "<p role=status><b>%s</b></p>" % escaped(note) if note else "",
        "<p>UUID: %s</p>" % escaped(app.values.get("device_uuid", app.values.get("device_id"))),
        "<p>MQTT: %s</p>" % escaped(connection(app, texts)) if "mqtt_broker" in app.values else "",
        "<p>%s: %s</p>" % (texts["state"], app.state),
        "<h2>%s</h2><form method=post action=/config>" % texts["settings"],
    ]
    for field in FIELDS:
        if field not in app.values:
            continue
        kind, value = "text", ""
        if field == "wifi_password":
            kind = "password"
        else:
            value = " value='%s'" % escaped(str(app.get(field)))
        parts.append("<p><label>%s <input name=%s type=%s%s></label></p>" % (texts[field], field, kind, value))
    parts.append("%s<button>%s</button></form>" % (yours, texts["save"]))
    for path in ("restart", "reset"):
        parts.append(
            "<form method=post action=/%s><h2>%s</h2>%s<button>%s</button></form>"
            % (path, texts[path], yours, texts[path])
        )
    parts.append("<p>%s</p>" % " ".join("<a href='/?lang=%s'>%s</a>" % (one, one) for one in LANGUAGES))
    return parts
