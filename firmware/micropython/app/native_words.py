"""What a board of contract native hears and says: telemetry, state and desired state, commands. Loaded when it does."""

import asyncio
import json

from late import late

commands = late("commands")
INTERVAL = "interval_s"


def entry(app, entry):
    """Telemetry as of when it was taken, with the numbers that tell it from others."""
    at = late("joining").taken(app, entry)
    text = '{"values": %s, "boot": %d, "seq": %d' % (entry[4], entry[0], entry[1])
    return text + (', "ts": %d}' % at if at else "}")


def state(contract):
    """What the board is, by the keys of the desired state."""
    app = contract.app
    found = {INTERVAL: app.telemetry // 1000, "firmware_version": app.version}
    for index in range(len(contract.names)):
        found[contract.names[index]] = contract.states[index]
    return found


def status(contract):
    found = late("about").standing(contract.app)
    found["device"] = contract.app.get("device_uuid")
    found.update(state(contract))
    return found


def heard(contract, topic, payload):
    """A message of the broker: only those for this board mean something."""
    app = contract.app
    channel = topic[len(contract.topic("")) :]
    if channel[:7] == "update/":
        late("update").heard(app, channel[7:], payload)
        return
    body = _object(payload)
    if body is None:
        return
    if channel == "command":
        command(contract, body)
    elif channel == "desired" and isinstance(body.get("values"), dict):
        become(contract, body["values"])


def _object(payload):
    try:
        text = (payload if isinstance(payload, str) else payload.decode()).strip()
        # MicroPython reads half of an object as a whole one.
        body = json.loads(text) if text[-1:] == "}" else None
    except (ValueError, UnicodeError):
        return None
    return body if isinstance(body, dict) else None


def become(contract, values):
    """Become what is desired, as far as this board can, and say what it is then."""
    app = contract.app
    for name in values:
        value = values[name]
        if name == INTERVAL and isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 86400:
            app.put(interval_s=value)
            app.telemetry = value * 1000
        elif name in contract.names and isinstance(value, bool):
            index = contract.names.index(name)
            contract.put(index, value)
            contract.states[index] = value
    tell(contract)


def tell(contract):
    contract.say(contract.topic("state"), json.dumps(state(contract)))


def command(contract, body):
    """Carry out a command, once, and answer it. One without an identifier could not be answered."""
    app = contract.app
    name = commands.ident(body.get("id"))
    if name is None:
        return
    text = commands.answer(contract.done, name)
    if text is None:
        result, moves = _obeyed(contract, body)
        said = {"id": name, "ok": True, "result": result}
        if isinstance(result, str):
            said = {"id": name, "ok": False, "error": result}
        text = json.dumps(said)
        try:
            commands.note(contract.done, name, text, moves is not None)
        except OSError:
            # It could be carried out twice after a reset: not at all, then.
            moves = None
            text = json.dumps({"id": name, "ok": False, "error": "flash"})
        if moves is not None:
            app.later(moves)
    contract.say(contract.topic("response"), text)


def _obeyed(contract, body):
    """A result, or a text that says why not; and what is begun when it is noted, or ``None``."""
    app = contract.app
    name, params, expires = body.get("name"), body.get("params"), body.get("expires")
    if isinstance(expires, int) and app.clock.unix() and app.clock.unix() * 1000 > expires:
        return "expired", None
    if name == "ping":
        return {"uptime": app.clock.ms() // 1000}, None
    if name == "status":
        return status(contract), None
    if name == "measure":
        return late("sensors").read(contract.sensors, app.log), None
    if name == "restart":
        return {}, lambda: _restart(app)
    if name == "update" and app.due:
        release = params.get("release") if isinstance(params, dict) else None
        return {"release": release} if isinstance(release, str) else {}, lambda: late("update").look(app)
    return "unknown command", None


async def _restart(app):
    # The answer leaves first.
    await asyncio.sleep(1)
    await late("make").restart(app)
