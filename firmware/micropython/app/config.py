"""What the board keeps: a file of settings and one of secrets, each written whole and only when something changed.

A table is a module: ``FIELDS`` gives each name its usual value and its limit (the longest text, the highest number; a
usual value of ``None`` is a text or nothing); ``SECRETS`` stand in a file of their own; ``PASSING`` are how it is now and
no reason to write; ``older(kept)`` brings former names up to date; ``LASTING`` stays when everything else is forgotten;
``stored(app, names)``, where there is one, hears what was put.

A file is JSON whose last entry ``check`` is the CRC-32 of the text before it. One that is edited by hand has no such
entry and is taken as it is; one whose check does not hold is not read, its copy is; without a good copy all is as usual.
"""

import binascii
import json
import os

from late import late

CONFIG = "config"
SECRETS = "secrets"
_MARK = ', "check": '


def seal(values):
    """The text of a file."""
    text = json.dumps(values)[:-1]
    return "%s%s%d}" % (text, _MARK, binascii.crc32(text.encode()) & 0xFFFFFFFF)


def unseal(text):
    """The values, or ``None`` for a text that is damaged."""
    at = text.rfind(_MARK)
    try:
        if at >= 0 and int(text[at + len(_MARK) :].rstrip().rstrip("}")) != binascii.crc32(text[:at].encode()) & 0xFFFFFFFF:
            return None
        values = json.loads(text)
    except ValueError:
        return None
    # MicroPython reads half of an object as a whole one, and some damage as an empty one.
    if not isinstance(values, dict) or not text.rstrip().endswith("}"):
        return None
    values.pop("check", None)
    return values or None


def write(path, text):
    """Put ``text`` in the place of the file: all of it or nothing. Raises OSError."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def load(app, usual):
    """All settings: what is kept, otherwise what is ``usual`` for the profile or for the contract."""
    table = late(app.name + "_table")
    values = {name: table.FIELDS[name][0] for name in table.FIELDS}
    for name in usual:
        _take(app, table, values, name, usual[name])
    plain, hidden = _read(app, CONFIG), _read(app, SECRETS)
    moved = table.older(plain)
    for name in plain:
        moved = moved or name in table.SECRETS
        _take(app, table, values, name, plain[name])
    for name in hidden:
        if name in table.SECRETS:
            _take(app, table, values, name, hidden[name])
    app.values = values
    if moved:
        _save(app, table, True)
        _save(app, table, False)
    return values


def put(app, values):
    """Change settings (:meth:`app.App.put`); ``app`` has ``values``, ``name`` (of the contract, whose table is a module of that name and ``_table``), ``log`` and ``written``."""
    table = late(app.name + "_table")
    for name in values:
        check(table, name, values[name])
    plain = hidden = False
    for name in values:
        if app.values[name] != values[name]:
            app.values[name] = values[name]
            if name in table.SECRETS:
                hidden = True
            elif name not in table.PASSING:
                plain = True
    if hidden:
        _save(app, table, True)
    if plain:
        _save(app, table, False)
    if hasattr(table, "stored"):
        table.stored(app, values)


def clear(app):
    """Forget everything except who the board is and what is connected to it."""
    table = late(app.name + "_table")
    for name in app.values:
        if name not in table.LASTING:
            app.values[name] = table.FIELDS[name][0]
    _save(app, table, True)
    _save(app, table, False)
    if hasattr(table, "stored"):
        table.stored(app, app.values)


def check(table, name, value):
    """Raises ValueError, with the name and the limit, when ``value`` cannot be the setting ``name``."""
    if name not in table.FIELDS:
        raise ValueError("%s is no setting" % name)
    usual, most = table.FIELDS[name]
    if isinstance(usual, bool):
        if isinstance(value, bool):
            return
        raise ValueError("%s must be true or false" % name)
    if isinstance(usual, int):
        if isinstance(value, int) and not isinstance(value, bool) and (usual > 0) <= value <= most:
            return
        raise ValueError("%s must be a whole number from %d to %d" % (name, usual > 0, most))
    if value is None and usual is None:
        return
    if isinstance(value, str) and len(value.encode()) <= most and "\n" not in value and "\r" not in value:
        return
    raise ValueError("%s must be a text of at most %d bytes" % (name, most))


def _read(app, path):
    values = unseal(read(path + ".json"))
    if values is None:
        text = read(path + ".bak")
        values = unseal(text)
        if values is not None:
            app.log("config:", path, "was damaged, its copy is used")
            write(path + ".json", text)
            app.written += 1
    return values or {}


def _take(app, table, values, name, value):
    if name in table.FIELDS:
        try:
            check(table, name, value)
            values[name] = value
        except ValueError as problem:
            app.log("config:", problem)


def _save(app, table, hidden):
    """Write the secrets, or the rest. What the flash does not take is told; the board goes on with what it knows."""
    kept = {name: app.values[name] for name in app.values if (name in table.SECRETS) == hidden}
    try:
        _put(app, SECRETS if hidden else CONFIG, kept)
    except OSError as problem:
        app.log("config: not written:", problem)


def _put(app, path, values):
    text = seal(values)
    write(path + ".json", text)
    write(path + ".bak", text)
    app.written += 1
