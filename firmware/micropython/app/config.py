"""What the board keeps: a file of settings and one of secrets, each written whole and only when something changed.

A file is JSON whose last entry ``check`` is the CRC-32 of the text before it. One that is edited by hand has no such
entry and is taken as it is; one whose check does not hold is not read, its copy is; without a good copy all is as usual.
"""

import binascii
import json
import os

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
    if not isinstance(values, dict):
        return None
    values.pop("check", None)
    return values


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


class Config:
    """``fields`` gives each name its usual value and its limit: the longest text, the highest number.

    A usual value of ``None`` is a text or nothing. ``secrets`` stand in a file of their own, ``passing`` are how it is now
    and no reason to write, ``older`` are former names. ``written`` counts how often the flash was written.
    """

    def __init__(self, fields, secrets=(), passing=(), older={}, path="config", log=print):
        self._fields = fields
        self._secrets = secrets
        self._passing = passing
        self._path = path
        self._log = log
        self.written = 0
        self.values = {name: fields[name][0] for name in fields}
        plain = self._load(path)
        hidden = self._load("secrets")
        moved = False
        for name in plain:
            now = older.get(name, name)
            moved = moved or now != name or now in secrets
            if now == name or now not in plain:
                self._take(now, plain[name])
        for name in hidden:
            if name in secrets:
                self._take(name, hidden[name])
        if moved:
            self.save(True)
            self.save(False)

    def _load(self, path):
        values = unseal(read(path + ".json"))
        if values is None:
            values = unseal(read(path + ".bak"))
            if values is not None:
                self._log("config:", path, "was damaged, its copy is used")
                self._put(path, values)
        return values or {}

    def _take(self, name, value):
        if name in self._fields:
            try:
                self._check(name, value)
                self.values[name] = value
            except ValueError as problem:
                self._log("config:", problem)

    def _check(self, name, value):
        usual, most = self._fields[name]
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

    def get(self, name):
        return self.values[name]

    def put(self, **values):
        """Change some; what lasts is written when it changed. Raises ValueError, and changes nothing then."""
        for name in values:
            if name not in self._fields:
                raise ValueError("%s is no setting" % name)
            self._check(name, values[name])
        plain = hidden = False
        for name in values:
            if self.values[name] != values[name]:
                self.values[name] = values[name]
                if name in self._secrets:
                    hidden = True
                elif name not in self._passing:
                    plain = True
        if hidden:
            self.save(True)
        if plain:
            self.save(False)

    def save(self, hidden):
        """Write the secrets, or the rest. What the flash does not take is told; the board goes on with what it knows."""
        kept = {name: self.values[name] for name in self.values if (name in self._secrets) == hidden}
        try:
            self._put("secrets" if hidden else self._path, kept)
        except OSError as problem:
            self._log("config: not written:", problem)

    def _put(self, path, values):
        text = seal(values)
        write(path + ".json", text)
        write(path + ".bak", text)
        self.written += 1

    def clear(self, but):
        """Forget everything except the names in ``but``."""
        for name in self.values:
            if name not in but:
                self.values[name] = self._fields[name][0]
        self.save(True)
        self.save(False)
