"""The relays of a board as state (contract autocore): ``relay_1`` to ``relay_32``, true or false.

A board has no words for a desired state, so each relay becomes a command; what a status, ``relays/state`` or the answer
to a command says about a relay is reported.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from relevo.dialects.autocore import commands
from relevo.dialects.autocore.reports import relays_in
from relevo.domain.events import AnyEvent, DeviceAnswered, StateReported
from relevo.errors import FieldError, Invalid

_KEY: Final = re.compile(r"relay_([1-9][0-9]?)")


def reported(event: AnyEvent) -> dict[str, Any] | None:
    """What ``event`` says about relays; ``None`` for nothing."""
    if isinstance(event, StateReported):
        said = event.state
        states = said.get("relay_states")
        if isinstance(states, dict):
            return {f"relay_{channel}": state for channel, state in states.items()}
    elif isinstance(event, DeviceAnswered) and event.answer.get("type") == "relay_response":
        said = event.answer
    elif isinstance(event, DeviceAnswered) and event.answer.get("type") == "status":
        return _in_status(event.answer.get("data"))
    else:
        return None
    channel, state = said.get("channel"), said.get("state")
    return {f"relay_{channel}": state} if type(channel) is int and type(state) is bool else None


def _in_status(data: Any) -> dict[str, Any] | None:
    """What the answer to ``status`` says about relays."""
    try:
        states = relays_in(data) if isinstance(data, dict) else None
    except Invalid:
        return None
    return {f"relay_{channel}": state for channel, state in states.items()} if states else None


def desired_order(key: str, value: Any, attributes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The command that switches a relay. Raises :class:`Invalid`."""
    match = _KEY.fullmatch(key)
    most = commands.channels_of(attributes)
    if match is None or int(match[1]) > most:
        raise _wrong(key, f"is not known; known are relay_1 to relay_{most}")
    if type(value) is not bool:
        raise _wrong(key, "must be true or false")
    return "relay", {"channel": int(match[1]), "state": value}


def _wrong(key: str, words: str) -> Invalid:
    field = f"values.{key}"
    return Invalid("desired_unknown", f"{field} {words}", [FieldError(field, words, "desired_unknown")])
