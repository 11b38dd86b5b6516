"""Topic patterns of contract emqx (section 3): text with variables that stand for a level, or for a part of one.

``sensors/{device_id}/{sensor_type}`` is the filter ``sensors/+/+`` to whoever subscribes and an expression to whoever
wants to know which device and sensor a topic names. Two variables in one level are read as far as they can be told
apart; ``{timestamp}`` are Unix seconds.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

DEVICE: Final = "device_id"
SENSOR: Final = "sensor_type"
TIME: Final = "timestamp"
VARIABLES: Final = (DEVICE, SENSOR, TIME)
PATTERN_CHARS: Final = 255
DATA: Final = "data"
STATUS: Final = "status"
ALERT: Final = "alert"
_VARIABLE: Final = re.compile(r"\{([^{}/]*)\}")
_PARTS: Final = {DEVICE: r"[^/+#\x00]+", SENSOR: r"[^/+#\x00]+", TIME: r"[0-9]{1,16}"}
_ALERTS: Final = frozenset({"alert", "alerts", "alerta", "alertas"})


class Named(NamedTuple):
    """What a topic says by its pattern; empty where it says nothing."""

    device: str = ""
    sensor: str = ""
    time: str = ""


class Pattern:
    """One pattern, taken apart."""

    def __init__(self, text: str) -> None:
        self.text = text
        levels = text.split("/")
        self.filter = "/".join("+" if _VARIABLE.search(level) else level for level in levels)
        self.channel = _channel(levels)
        self._expression = re.compile(_expression(text))
        # The more of it is said outright, the more it has to say about a topic.
        self.rank = (-sum("+" not in level and "#" not in level for level in self.filter.split("/")), len(levels), text)

    def named(self, topic: str) -> Named | None:
        """What ``topic`` says, ``None`` when it is not one of these."""
        found = self._expression.fullmatch(topic)
        if found is None:
            return None
        said = found.groupdict()
        return Named(said.get(DEVICE) or "", said.get(SENSOR) or "", said.get(TIME) or "")

    def filter_for(self, device: str) -> str:
        """The filter of the topics that are one device's by this pattern; all of them where it names no device."""
        levels = []
        for level in self.text.split("/"):
            others = [name for name in _VARIABLE.findall(level) if name != DEVICE]
            levels.append("+" if others else level.replace(f"{{{DEVICE}}}", device))
        return "/".join(levels)


@lru_cache(maxsize=4_096)
def pattern(text: str) -> Pattern:
    """``text`` taken apart; it was let in by :func:`problem_of`."""
    return Pattern(text)


def problem_of(text: str) -> str:
    """What is against ``text`` as a pattern, in the contract's language; empty for nothing."""
    if len(text) > PATTERN_CHARS:
        return f"Asegúrese de que este campo no tenga más de {PATTERN_CHARS} caracteres."
    if not text.strip() or not text.isprintable() or text != text.strip():
        return "Debe ser un topic con caracteres imprimibles y sin espacios alrededor."
    if text.startswith("$"):
        return "Los topics que empiezan con $ pertenecen al servidor."
    unknown = [name for name in _VARIABLE.findall(text) if name not in VARIABLES]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in VARIABLES)
        return f"Variable desconocida {{{unknown[0][:32]}}}; las variables son {known}."
    names = _VARIABLE.findall(text)
    if len(set(names)) < len(names):
        return "Cada variable puede aparecer una sola vez."
    rest = _VARIABLE.sub("x", text)
    if "{" in rest or "}" in rest:
        return "Llaves sin cerrar."
    if not _wildcards_alone(rest.split("/")):
        return "Los comodines + y # ocupan un nivel entero, y # solo el último."
    return ""


def _wildcards_alone(levels: list[str]) -> bool:
    """[MQTT-4.7.1-2] and [MQTT-4.7.1-3]"""
    return "#" not in levels[:-1] and all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)


def _channel(levels: list[str]) -> str:
    if STATUS in levels:
        return STATUS
    return ALERT if _ALERTS.intersection(levels) else DATA


def _expression(text: str) -> str:
    parts: list[str] = []
    levels = text.split("/")
    for n, level in enumerate(levels):
        if level == "#":
            # It also means the level above.
            parts.append("(?:/.*)?" if n else ".*")
            break
        slash = "/" if n else ""
        if level == "+":
            parts.append(f"{slash}[^/]*")
            continue
        at, made = 0, slash
        for one in _VARIABLE.finditer(level):
            made += re.escape(level[at : one.start()]) + f"(?P<{one[1]}>{_PARTS[one[1]]})"
            at = one.end()
        parts.append(made + re.escape(level[at:]))
    return "".join(parts)
