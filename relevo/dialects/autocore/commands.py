"""Commands of relay boards (contract autocore, sections 4.1 and 4.2).

Boards speak one of three dialects, which the attribute ``speech`` of a device names; ``seed`` when it says nothing.

``seed``: ``ping``, ``status``, ``relay`` (``channel`` from 1, ``state``) and ``update`` on ``/command``. Answers carry
no identifier: the oldest open command of the same type and channel is meant, unless ``request_id`` comes back. ``old``:
``relay_on`` and ``relay_off`` with channels from 0, no answer; the next status is the proof. ``v2``: ``/relays/set``,
and ``relays/state`` is the proof. One command a channel is on its way. ``gateway``: any command with an identifier of
its own, which its answer carries.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from relevo.dialect import Order, Said, Verdict
from relevo.domain.commands import CONFIRMED, FAILED, Command
from relevo.domain.events import AnyEvent, DeviceAnswered, StateReported
from relevo.domain.releases import RELEASE_LIMIT
from relevo.errors import FieldError, Invalid

SPEECH: Final = "speech"
ANSWER_MS: Final = 10_000
# A status comes every 30 seconds.
STATUS_MS: Final = 65_000
PROTOCOL: Final = "2.2.0"
_CHANNELS: Final = 16
_CHANNELS_MOST: Final = 32
_NAMES: Final = {
    "seed": ("ping", "status", "relay", "update"),
    "old": ("relay", "status", "reboot"),
    "v2": ("relay", "status", "reset", "reboot", "ota"),
    # Whatever the gateway knows.
    "gateway": (),
}
FUNCTIONS: Final = ("toggle", "momentary", "pulse", "timer")
# Of the 512 bytes that a message to a board may have.
_PARAMETERS_BYTES: Final = 352
_DELAY_MOST: Final = 3_600
_TYPE_LIMIT: Final = 64
_ANSWERS: Final = {"ping": "pong", "status": "status", "relay": "relay_response", "update": "update"}
_STATES: Final[dict[Any, bool]] = {True: True, False: False, "on": True, "off": False}
_encode: Final = msgspec.json.Encoder().encode


def speech_of(attributes: Mapping[str, Any]) -> str:
    """The dialect that a board speaks."""
    speech = attributes.get(SPEECH)
    return speech if speech in _NAMES else "seed"


def channels_of(attributes: Mapping[str, Any]) -> int:
    """How many relays a board has."""
    most = attributes.get("relay_channels")
    return most if type(most) is int and 1 <= most <= _CHANNELS_MOST else _CHANNELS


def order(name: str, params: dict[str, Any], attributes: Mapping[str, Any]) -> Order:
    """See :class:`relevo.dialect.Commandable`. Raises :class:`Invalid`."""
    speech = speech_of(attributes)
    if speech == "gateway":
        if len(_encode(params)) > _PARAMETERS_BYTES:
            raise _wrong("params_invalid", "params", f"must have at most {_PARAMETERS_BYTES} bytes")
        return Order(params, "", ANSWER_MS)
    if name not in _NAMES[speech]:
        raise _wrong("command_unknown", "name", f"must be one of {', '.join(_NAMES[speech])}")
    if name == "update":
        _nothing_else(params, ("release",))
        release = params.get("release")
        if type(release) is not str or not 0 < len(release) <= RELEASE_LIMIT:
            raise _wrong("params_invalid", "params.release", f"must be a text of 1 to {RELEASE_LIMIT} characters")
        return Order(dict(params), name, ANSWER_MS)
    if name != "relay":
        _nothing_else(params, ("type", "delay") if speech == "v2" and name != "status" else ())
        _check_delay(params)
        wait = ANSWER_MS if speech == "seed" else STATUS_MS if name == "status" else 0
        return Order(dict(params), name, wait)
    _nothing_else(params, ("channel", "state", "function"))
    most = channels_of(attributes)
    channel = params.get("channel")
    if type(channel) is not int or not 1 <= channel <= most:
        raise _wrong("params_invalid", "params.channel", f"must be a whole number from 1 to {most}")
    state = params.get("state")
    if not isinstance(state, bool | str) or state not in _STATES:
        raise _wrong("params_invalid", "params.state", "must be true, false, on or off")
    function = params.get("function", FUNCTIONS[0])
    if function not in FUNCTIONS:
        raise _wrong("params_invalid", "params.function", f"must be one of {', '.join(FUNCTIONS)}")
    wait = {"seed": ANSWER_MS, "old": STATUS_MS, "v2": ANSWER_MS}[speech]
    meant: dict[str, Any] = {"channel": channel, "state": _STATES[state]}
    if function != FUNCTIONS[0]:
        meant["function"] = function
    return Order(meant, f"relay {channel}", wait)


def say(root: str, command: Command, attributes: Mapping[str, Any]) -> Said:
    """The message below ``root``, the board's own topic."""
    speech, name, params = speech_of(attributes), command.name, command.params
    if speech == "gateway":
        body = {"command_id": command.id, "command_type": name, "parameters": params, "timeout": ANSWER_MS // 1000}
        return Said(f"{root}/command", _encode(body))
    function = params.get("function", FUNCTIONS[0])
    params = {key: value for key, value in params.items() if key != "function"}
    if speech == "seed":
        return Said(f"{root}/command", _encode({"type": name, **params, "request_id": command.id}))
    if speech == "old":
        if name == "relay":
            word = "relay_on" if params["state"] else "relay_off"
            return Said(f"{root}/command", _encode({"command": word, "channel": params["channel"] - 1}))
        return Said(f"{root}/command", _encode({"command": "get_status" if name == "status" else name}))
    if name == "relay":
        body = {
            "protocol_version": PROTOCOL,
            **params,
            "command": "on" if params["state"] else "off",
            "function_type": function,
            "momentary": function == "momentary",
            "user": command.by[:32],
            "source": "server",
        }
        return Said(f"{root}/relays/set", _encode(body))
    return Said(
        f"{root}/commands/{name}", _encode({"protocol_version": PROTOCOL, "type": name, **params, "command": name})
    )


def beat(root: str, uuid: str, channel: int, number: int, attributes: Mapping[str, Any]) -> Said | None:
    """A key is held still: the second protocol lets go of a relay without it."""
    if speech_of(attributes) != "v2":
        return None
    body = {
        "protocol_version": PROTOCOL,
        "channel": channel,
        "source_uuid": "relevo",
        "target_uuid": uuid,
        "sequence": number,
    }
    return Said(f"{root}/relays/heartbeat", _encode(body), 0)


def relay_in(payload: Mapping[str, Any]) -> tuple[int, bool | None] | None:
    """What a message to a board, in any of the dialects, does to a relay; ``None`` for nothing.

    The relay counts from 1 and is 0 for all of them; ``None`` instead of a state is the other way round.
    """
    channel, word, state = payload.get("channel"), payload.get("command"), payload.get("state")
    if word in ("relay_on", "relay_off"):
        return (channel + 1, word == "relay_on") if type(channel) is int else None
    if payload.get("type", "relay") not in ("relay", "relay_command"):
        return None
    on: bool | None = None
    if word in ("on", "off"):
        on = word == "on"
    elif type(state) is bool or (type(state) is int and state in (0, 1)):
        on = bool(state)
    elif word != "toggle":
        return None
    if channel == "all":
        return 0, on
    return (channel, on) if type(channel) is int else None


def topics(root: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """What a board listens on."""
    return (f"{root}/relays/set",) if speech_of(attributes) == "v2" else (f"{root}/command",)


def settles(command: Command, event: AnyEvent) -> Verdict | None:
    """What an answer or a report says about ``command``."""
    if isinstance(event, DeviceAnswered):
        return _answered(command, event.answer)
    if isinstance(event, StateReported) and command.name == "status" and command.answer_ms == STATUS_MS:
        return Verdict(CONFIRMED, result=event.state)
    if isinstance(event, StateReported) and command.name == "relay" and "channel" in command.params:
        state = _reported(event.state, command.params["channel"])
        # What it was before says nothing: a report may have left before the command arrived.
        return Verdict(CONFIRMED, result={"state": state}) if state is command.params["state"] else None
    return None


def _answered(command: Command, answer: dict[str, Any]) -> Verdict | None:
    if "command_id" in answer:
        if answer["command_id"] != command.id:
            return None
        if answer.get("success") is True:
            return Verdict(CONFIRMED, result=answer.get("result"))
        return Verdict(FAILED, str(answer.get("error_message") or "the gateway said no")[:200], answer)
    echoed = answer.get("request_id")
    if echoed is not None and echoed != command.id:
        return None
    if answer.get("type") == "error":
        return Verdict(FAILED, str(answer.get("error", "the board said no"))[:200], answer)
    if answer.get("type") != _ANSWERS.get(command.name):
        return None
    if command.name == "update":
        return Verdict(CONFIRMED, result=answer.get("release"))
    if command.name != "relay":
        return Verdict(CONFIRMED, result=answer.get("data", answer.get("timestamp")))
    if answer.get("channel") != command.params["channel"]:
        return None
    if answer.get("state") is not command.params["state"]:
        return Verdict(FAILED, f"the board says state {answer.get('state')!r}"[:200], answer)
    return Verdict(CONFIRMED, result={"state": answer["state"]})


def _reported(state: dict[str, Any], channel: int) -> bool | None:
    """The state of a channel in a report: all by number (status), or one (``relays/state``)."""
    states = state.get("relay_states")
    found = states.get(str(channel)) if isinstance(states, dict) else None
    if state.get("channel") == channel:
        found = state.get("state")
    return found if isinstance(found, bool) else None


def _check_delay(params: Mapping[str, Any]) -> None:
    delay, kind = params.get("delay", 0), params.get("type", "-")
    if type(delay) is not int or not 0 <= delay <= _DELAY_MOST:
        raise _wrong("params_invalid", "params.delay", f"must be a whole number of seconds from 0 to {_DELAY_MOST}")
    if type(kind) is not str or not 0 < len(kind) <= _TYPE_LIMIT:
        raise _wrong("params_invalid", "params.type", f"must be a text of 1 to {_TYPE_LIMIT} characters")


def _nothing_else(params: dict[str, Any], known: tuple[str, ...]) -> None:
    extra = sorted(set(params) - set(known))
    if extra:
        words = f"is not known; known are {', '.join(known)}" if known else "is not known; there are none"
        raise _wrong("params_invalid", f"params.{extra[0][:64]}", words)


def _wrong(reason: str, field: str, message: str) -> Invalid:
    return Invalid(reason, f"{field} {message}", [FieldError(field, message, reason)])
