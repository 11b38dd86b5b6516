"""The serial line: settings for a board in the hand. Passwords go in and never come out."""

import json
import select
import sys

from late import late

HELP = """provision NAME=VALUE ...  settings; also provision {"NAME": VALUE} or a claim link
wifi NAME [PASSWORD]      the network; quotes keep blanks
trust FINGERPRINT         SHA-256 of the server's certificate
show                      settings without secrets
status                    how the board is
stats                     figures
debug on|off              more or less on this line
restart                   start anew
factory-reset             forget everything but who the board is
help                      this"""
LINE_MOST = 1024


def admit(app):
    """Take what was typed."""
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    while poll.poll(0):
        letter = sys.stdin.read(1)
        if not letter:
            # Nobody is there, and nobody will be.
            app.doors.unregister(sys.stdin)
            return
        if letter >= " ":
            app.line = (app.line + letter)[:LINE_MOST]
        elif app.line:
            line, app.line = app.line, ""
            print(obey(app, line))


def words(line):
    """What stands between blanks, or in quotes."""
    found = []
    word = ""
    quote = False
    for letter in line:
        if letter == '"':
            quote = not quote
        elif letter == " " and not quote:
            if word:
                found.append(word)
            word = ""
        else:
            word += letter
    return found + [word] if word else found


def _value(usual, text):
    """What somebody typed, of the kind that the setting has."""
    if isinstance(usual, bool):
        if text not in ("true", "false"):
            raise ValueError("true or false, not " + text[:16])
        return text == "true"
    return int(text) if isinstance(usual, int) else text


def wanted(app, rest):
    """Settings from what stands behind ``provision``. Raises ValueError."""
    if rest.startswith("{"):
        found = json.loads(rest) if rest.endswith("}") else None
        if not isinstance(found, dict) or not found:
            raise ValueError("settings must be an object")
        return found
    if rest.startswith("http://") or rest.startswith("https://"):
        try:
            secure, host, port, _ = late("httpc").split(rest)
        except OSError as problem:
            raise ValueError(str(problem))
        return {"backend_ip": host, "backend_port": port, "backend_tls": secure}
    fields = late(app.name + "_table").FIELDS
    found = {}
    for word in words(rest):
        name, mark, text = word.partition("=")
        if not mark or name not in fields:
            raise ValueError("%s is no setting" % name[:32])
        try:
            found[name] = _value(fields[name][0], text)
        except ValueError:
            raise ValueError("%s cannot be %s" % (name, text[:16]))
    if not found:
        raise ValueError("nothing to set")
    return found


def shown(app):
    """Settings; of secrets whether they are there."""
    secrets = late(app.name + "_table").SECRETS
    return {name: bool(app.values[name]) if name in secrets else app.values[name] for name in app.values}


def stats(app):
    """Figures: whole numbers and words."""
    return {
        "state": app.state,
        "uptime": app.clock.ms() // 1000,
        "cause": app.cause,
        "version": app.version,
        "free_memory": app.hal.free(),
        "failures": app.sup.failures,
        "last_failure": app.sup.last,
        "waiting": len(app.outbox),
        "dropped": app.outbox.dropped,
        "written": app.written,
        "time": app.clock.unix(),
    }


def obey(app, line):
    """Carry out a line; what to say about it."""
    name, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    try:
        typed = getattr(app.contract, "typed", None)
        said = typed(line) if typed is not None else None
        if said is not None:
            return said
        if name == "provision":
            return _change(app, wanted(app, rest))
        if name == "wifi":
            given = words(rest)
            if not 1 <= len(given) <= 2:
                return "error: wifi NAME [PASSWORD]"
            return _change(app, {"wifi_ssid": given[0], "wifi_password": given[1] if len(given) > 1 else ""})
        if name == "trust":
            return _trust(rest)
        if name == "show":
            return json.dumps(shown(app))
        if name == "status":
            return json.dumps(late(app.name + "_words").status(app.contract))
        if name == "stats":
            return json.dumps(stats(app))
        if name == "debug" and rest in ("on", "off"):
            app.debug = rest == "on"
            return "ok"
        if name == "restart":
            app.later(lambda: late("make").restart(app))
            return "ok"
        if name == "factory-reset":
            app.later(lambda: late("make").forget(app))
            return "ok"
    except ValueError as problem:
        return "error: %s" % problem
    return HELP if name == "help" else "error: unknown, try help"


def _change(app, settings):
    if "wifi_ssid" in settings:
        settings["configured"] = True
    app.put(**settings)
    app.changed()
    return "ok"


def _trust(text):
    text = text.replace(":", "").lower()
    if len(text) != 64 or any(letter not in "0123456789abcdef" for letter in text):
        return "error: a fingerprint is 64 hexadecimal digits"
    late("config").write("pin.txt", text)
    return "ok"
