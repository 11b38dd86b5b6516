"""What a relay board of contract autocore hears and says over MQTT (sections 4.1 and 4.3). Loaded for each message."""

import json

from late import late

commands = late("commands")
ident = commands.ident
PULSE_MOST = 3600000


def _error(error):
    return {"type": "error", "error": error}


def told(payload, relays):
    """A command: its answer so far, and what to do: ``None``, or a word and what belongs to it.

    ``relays`` is how many there are. Whatever is wrong with a command does nothing.
    """
    try:
        text = (payload if isinstance(payload, str) else payload.decode()).strip()
        # MicroPython reads half of an object as a whole one.
        command = json.loads(text) if text[-1:] == "}" else None
    except (ValueError, UnicodeError):
        command = None
    if not isinstance(command, dict):
        return _error("invalid_json"), None
    said, do = _understood(command, relays)
    echo = command.get("request_id")
    if ident(echo):
        said["request_id"] = echo
    return said, do


def _whole(value, least, most):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _understood(command, relays):
    kind = command.get("type")
    if kind in ("ping", "status"):
        return {"type": "pong" if kind == "ping" else kind}, (kind,)
    if kind == "update":
        said = {"type": kind}
        if isinstance(command.get("release"), str):
            said["release"] = command["release"][:64]
        return said, (kind,)
    if kind != "relay":
        return _error("unknown_type"), None
    channel, state = command.get("channel"), command.get("state")
    if not _whole(channel, 1, relays):
        return _error("invalid_channel"), None
    pulse, held = command.get("pulse_ms", 0), command.get("momentary", False)
    if not isinstance(state, bool) or not _whole(pulse, 0, PULSE_MOST) or not isinstance(held, bool):
        return _error("invalid_state"), None
    return {"type": "relay_response", "channel": channel, "state": state}, (kind, channel, state, pulse, held)


def status(contract):
    # Relays as ``relays``: a status with ``relay_states`` is how boards of an older kind are known.
    app = contract.app
    return {
        "uuid": app.get("device_uuid"),
        "status": "online",
        "uptime": app.clock.ms() // 1000,
        "wifi_rssi": app.station.rssi(),
        "free_memory": app.hal.free(),
        "ip_address": app.station.ip(),
        "firmware_version": app.version,
        "relays": list(contract.relays.states),
        "reset_cause": app.cause,
        "failures": app.sup.failures,
        "dropped": app.outbox.dropped,
    }


def heard(contract, topic, payload):
    """A message of the broker: only those for this board mean something."""
    if topic == contract.topic("command"):
        command(contract, payload)
    elif topic.startswith(contract.topic("update/")):
        late("update").heard(contract.app, topic.rpartition("/")[2], payload)
    elif topic == contract.topic("relays/heartbeat"):
        try:
            channel = json.loads(payload).get("channel")
        except (ValueError, AttributeError, UnicodeError):
            return
        if _whole(channel, 1, len(contract.relays.states)):
            contract.relays.beat(channel)


def command(contract, payload):
    """Carry out a command, once, and answer it."""
    app = contract.app
    said, do = told(payload, len(contract.relays.states))
    name = ident(said.get("request_id"))
    text = commands.answer(contract.done, name) if name and do is not None else None
    if text is None:
        kind = do[0] if do is not None else ""
        if kind == "ping":
            said["timestamp"] = app.clock.ms() // 1000
        elif kind == "status":
            said["data"] = status(contract)
        elif kind == "update" and not app.due:
            kind = ""
            said["type"], said["error"] = "error", "unknown_type"
        text = json.dumps(said)
        if name and kind in ("relay", "update"):
            try:
                commands.note(contract.done, name, text, kind == "relay")
            except OSError:
                # It could be carried out twice after a reset: not at all, then.
                kind = ""
                text = json.dumps({"type": "error", "error": "flash", "request_id": name})
        if kind == "relay":
            contract.relays.switch(*do[1:])
        elif kind == "update":
            late("update").soon(app)
    contract.say(contract.topic("response"), text)
