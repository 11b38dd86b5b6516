"""The serial console: a line in, lines out. Nothing is stored before every answer is right."""

from storage import KEYS

_HEX = "0123456789abcdef"
_QUESTIONS = (
    ("device_id", "Device ID:"),
    ("device_token", "Device Token:"),
    ("api_url", "API URL:"),
    ("wifi_name", "WiFi name (empty keeps it):"),
    ("wifi_password", "WiFi password (empty keeps it):"),
)
HELP = (
    "provision    enter device id, token, server and network",
    "status       what is set and whether it works",
    "stats        requests, failures, memory",
    "debug on     tell of every request; debug off ends that",
    "reset        forget everything and restart",
    "help         this list",
)


def masked(token):
    return token[:2] + "***" if token else "(none)"


def problem(name, value):
    """Why ``value`` cannot be that, empty when it can."""
    if name == "device_id":
        if len(value) != 24 or any(letter not in _HEX for letter in value.lower()):
            return "Device ID must be 24 hexadecimal characters"
    elif name == "device_token":
        if not 1 <= len(value) <= 128 or " " in value:
            return "Device Token must be 1 to 128 characters without spaces"
    elif name == "api_url":
        scheme, mark, rest = value.partition("://")
        host = rest.split("/")[0]
        if not mark or scheme.lower() not in ("http", "https") or not host or " " in value or len(value) > 200:
            return "API URL must be http://HOST:PORT or https://HOST"
    elif len(value) > 64:
        return "at most 64 characters"
    return ""


class Console:
    """``status`` and ``stats`` give lines to show; ``restart`` and ``debug`` do what they say."""

    def __init__(self, storage, status, stats, restart, debug):
        self._storage = storage
        self._status = status
        self._stats = stats
        self._restart = restart
        self._debug = debug
        self._asked = None
        self._answers = {}

    def line(self, text):
        """What to print after a line was entered."""
        text = text.strip()
        if self._asked is not None:
            return self._answer(text)
        command = " ".join(text.lower().split())
        if command == "provision":
            self._answers = {}
            self._asked = 0
            return [_QUESTIONS[0][1]]
        if command == "status":
            known = [key + ": " + (masked(self._storage.get(key)) if "token" in key else self._storage.get(key)) for key in KEYS]
            return known + self._status()
        if command == "stats":
            return self._stats()
        if command in ("debug on", "debug off"):
            self._debug(command == "debug on")
            return [command]
        if command == "reset":
            self._storage.clear()
            self._restart()
            return ["Everything is forgotten."]
        if not command:
            return []
        return list(HELP) if command == "help" else ["Unknown command; type help"]

    def _answer(self, text):
        name, _ = _QUESTIONS[self._asked]
        wrong = problem(name, text)
        if wrong:
            self._asked = None
            return [wrong + "; nothing was stored"]
        if text:
            self._answers[name] = text.lower() if name == "device_id" else text.rstrip("/") if name == "api_url" else text
        self._asked += 1
        if self._asked < len(_QUESTIONS):
            return [_QUESTIONS[self._asked][1]]
        self._asked = None
        self._storage.put(self._answers)
        return ["Stored. Token " + masked(self._answers["device_token"])]
