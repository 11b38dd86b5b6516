"""What a board's messages hold (contract autocore, section 4.3): relays, figures, telemetry and what the board is.

Boards of three generations name the same things differently; here they become one form.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from relevo.errors import FieldError, Invalid

CHANNELS_MOST: Final = 32
FIGURES: Final = (
    ("uptime", ("uptime", "uptime_s")),
    ("wifi_rssi", ("wifi_rssi", "wifi_signal", "rssi")),
    ("free_memory", ("free_memory", "memory_free")),
)
_STATES: Final = ("relay_states", "relays", "channels")
_NO_SERIES: Final = frozenset({"uuid", "timestamp", "protocol_version"})
_ON_OFF: Final[dict[Any, bool]] = {True: True, False: False, "on": True, "off": False}
# Beside value and unit, what says nothing of its own.
_OF_VALUE: Final = frozenset({"value", "unit", "timestamp", "name", "signal_name", "sensor", "id"})
_NAMES: Final = ("name", "signal_name", "sensor", "id")
_DEPTH: Final = 4
_UNIT_LIMIT: Final = 32
_UNITS_MOST: Final = 200
_TEXTS: Final = {
    "ip_address": ("ip_address", "ip"),
    "mac_address": ("mac_address",),
    "firmware_version": ("firmware_version",),
    "hardware_version": ("hardware_version",),
}
_TEXT_LIMIT: Final = 45
_CAPABILITY: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_CAPABILITIES_MOST: Final = 16


class Said(NamedTuple):
    """What a message says about the board beside its content.

    ``speech`` is the dialect that it shows, empty when it shows none; ``doubtful`` when a board of another dialect than
    the usual one would have shown it here. ``attributes`` are what the board says of itself, ``units`` those of series.
    """

    speech: str = ""
    doubtful: bool = False
    attributes: Mapping[str, Any] = {}
    units: Mapping[str, str] = {}


def said(channel: str, body: Mapping[str, Any], units: Mapping[str, str], retained: bool) -> Said:
    """See :class:`Said`; ``channel`` is the part of the topic behind the board's name."""
    speech = ""
    whole = channel in ("announce", "status") and body.get("status", "online") == "online"
    if body.get("protocol_version") is not None:
        speech = "v2"
    elif channel == "gateway" or (channel == "announce" and _type(body) == "gateway"):
        speech = "gateway"
    elif channel == "response":
        speech = "seed" if type(body.get("type")) is str else "gateway" if "command_id" in body else ""
    elif channel == "status" and whole and type(body.get("relay_states")) is list:
        speech = "old"
    # A kept message may be older than what the board runs now.
    return Said("" if retained else speech, whole and not speech and not retained, _about(body) if whole else {}, units)


def learned(attributes: Mapping[str, Any], one: Said, doubts: int) -> tuple[dict[str, Any], int]:
    """What ``one`` changes of a board's ``attributes`` (RFC 7396), and how many doubtful messages came in succession.

    What a board shows counts at once; that it stopped showing it counts with the second message.
    """
    patch = {name: value for name, value in one.attributes.items() if attributes.get(name) != value}
    speech = attributes.get("speech")
    if one.speech:
        doubts = 0
        if one.speech != speech and not (one.speech == "seed" and speech is None):
            patch["speech"] = one.speech
    elif one.doubtful and speech in ("old", "v2"):
        doubts += 1
        if doubts >= 2:
            patch["speech"], doubts = None, 0
    known = attributes.get("units")
    known = known if isinstance(known, dict) else {}
    fresh = {key: unit for key, unit in one.units.items() if known.get(key) != unit}
    if fresh and len(known) + len(fresh) <= _UNITS_MOST:
        patch["units"] = fresh
    return patch, doubts


def _type(body: Mapping[str, Any]) -> Any:
    return body.get("type", body.get("device_type"))


def _about(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, aliases in _TEXTS.items():
        text = next((body[alias] for alias in aliases if body.get(alias) is not None), None)
        if type(text) is str and text.isascii() and text.isprintable() and 0 < len(text) <= _TEXT_LIMIT:
            found[name] = text
    for count in (body.get("relay_channels"), body.get("channels")):
        if type(count) is int and 1 <= count <= CHANNELS_MOST:
            found["relay_channels"] = count
            break
    listed = body.get("capabilities")
    if type(listed) is list and _are_capabilities(listed):
        found["capabilities"] = listed
    return found


def _are_capabilities(listed: list[Any]) -> bool:
    few = 0 < len(listed) <= _CAPABILITIES_MOST
    return few and all(type(one) is str and _CAPABILITY.fullmatch(one) for one in listed)


def relays_in(body: Mapping[str, Any]) -> dict[str, bool] | None:
    """Channel, counted from 1, to whether it is on, from a status; ``None`` when it says nothing of relays.

    Raises :class:`Invalid`.
    """
    states = next((body[name] for name in _STATES if type(body.get(name)) in (list, dict)), None)
    return None if states is None else _relays(states)


def state_of(body: dict[str, Any]) -> dict[str, Any]:
    """``relays/state`` with relays as ``relay_states`` by channel, and ``state`` of a single one as boolean.

    Raises :class:`Invalid`.
    """
    found = relays_in(body)
    if found is None:
        bare = {name: value for name, value in body.items() if name.isascii() and name.isdigit()}
        found = _relays(bare) if bare else None
    rest = {name: value for name, value in body.items() if name not in _STATES and not name.isdigit()}
    channel = rest.get("channel")
    if type(channel) is int:
        state = rest.get("state")
        if state is None and rest.get("command") in ("on", "off"):
            state = rest["command"]
        rest["state"] = _state(channel, state)
    if found is not None:
        rest["relay_states"] = found
    return rest


def _relays(states: Any) -> dict[str, bool]:
    found = {}
    pairs = enumerate(states, 1) if type(states) is list else states.items()
    for channel, state in pairs:
        if type(state) is dict:
            channel, state = state.get("channel", channel), state.get("state")
        number = int(channel) if type(channel) is str and channel.isascii() and channel.isdigit() else channel
        if type(number) is not int or not 1 <= number <= CHANNELS_MOST:
            raise _wrong(f"relay_states: channel {ascii(channel)[:16]} must be a number from 1 to {CHANNELS_MOST}")
        found[str(number)] = _state(number, state)
    return found


def _state(channel: int, state: Any) -> bool:
    if not isinstance(state, bool | int | str) or state not in _ON_OFF:
        raise _wrong(f"relay_states: channel {channel} must be 0, 1, true or false")
    return _ON_OFF[state]


def _wrong(message: str) -> Invalid:
    return Invalid("value_type", message, [FieldError("relay_states", message, "value_type")])


def flat(body: Mapping[str, Any], units: dict[str, str]) -> dict[str, Any]:
    """Telemetry as series, nested objects flattened with dots; units of ``{"value", "unit"}`` go to ``units``."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name not in _NO_SERIES:
            _flatten(name, value, 1, found, units)
    return found


def _flatten(key: str, value: Any, depth: int, found: dict[str, Any], units: dict[str, str]) -> None:
    if type(value) is dict and depth < _DEPTH:
        if "value" in value and value.keys() <= _OF_VALUE:
            found[key] = value["value"]
            unit = value.get("unit")
            if type(unit) is str and 0 < len(unit) <= _UNIT_LIMIT and unit.isprintable():
                units[key] = unit
            return
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, depth + 1, found, units)
    elif type(value) is list and depth < _DEPTH and value and all(type(one) is dict for one in value):
        for n, one in enumerate(value, 1):
            named = next((one[name] for name in _NAMES if type(one.get(name)) in (str, int)), n)
            _flatten(f"{key}.{named}", one, depth + 1, found, units)
    else:
        found[key] = value
