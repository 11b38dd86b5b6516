"""What a board of contract thingsnxt asks and tells (sections 3, 7 and 8). Loaded when it does."""

import asyncio
import json

from late import late

PINS = ("v0", "v1", "v2", "v3", "v4")
_TIMEOUT_S = 5


def is_private(host):
    """Whether ``host`` is an address of a private network; a name is not."""
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
        return False
    a, b = int(parts[0]), int(parts[1])
    return a in (10, 127) or (a == 172 and 16 <= b < 32) or (a == 192 and b == 168) or (a == 169 and b == 254)


async def poll(contract):
    return apply(contract, await ask(contract, "poll", "GET", "/telemetry/latest"))


async def telemetry(contract):
    data = {PINS[index]: contract.states[index] for index in range(len(contract.states))}
    data.update(late("sensors").read(contract.sensors, contract.app.log))
    path = "/devices/%s/telemetry" % contract.app.get("device_id")
    return apply(contract, await ask(contract, "telemetry", "POST", path, {"data": data}))


async def health(contract):
    free = contract.app.hal.free()
    contract.lowest = min(contract.lowest or free, free)
    return await ask(contract, "health", "GET", "/health") is not None


def apply(contract, body):
    """Let the outputs follow an answer; whether it was one. Only a change writes a pin."""
    data = body.get("data") if body is not None else None
    if not isinstance(data, dict):
        return False
    for index in range(len(contract.states)):
        value = data.get(PINS[index])
        if index == 0 and "v0" not in data:
            # What older widgets say.
            value = data.get("led")
        if isinstance(value, (bool, int)) and value in (0, 1) and int(value) != contract.states[index]:
            contract.states[index] = int(value)
            contract.put(index, bool(value))
    return True


def _object(text):
    try:
        text = text.decode().strip()
        # MicroPython reads half of an object as a whole one.
        body = json.loads(text) if text[-1:] == "}" else None
    except (ValueError, UnicodeError):
        return None
    return body if isinstance(body, dict) else None


def api(app, httpc):
    """Where the server is. Raises OSError for plain HTTP to what is no private address."""
    secure, host, _, _ = httpc.split(app.get("api_url"))
    if not secure and not app.get("plain_http") and not is_private(host):
        raise OSError("plain HTTP is for private addresses")
    return app.get("api_url")


async def request(app, method, path, body):
    """Status, headers and body. Raises OSError, also for plain HTTP to what is no private address."""
    httpc = late("httpc")
    url = api(app, httpc) + path
    return await httpc.request(method, url, body, {"X-Device-Token": app.get("device_token")}, _TIMEOUT_S)


async def rest(app, ms):
    """Wait, alive."""
    until = app.clock.ms() + ms
    while app.clock.ms() < until and not app.again:
        app.sup.beat("life")
        await asyncio.sleep(0.05)


async def ask(contract, what, method, path, body=None):
    """What an answer of 200 says, ``None`` for any other, after as many tries as the contract has.

    Raises :class:`thingsnxt.Refused` when the server does not know the board or its token.
    """
    app, pace = contract.app, contract.pace
    for retry in range(pace.RETRIES + 1):
        if retry:
            await contract.rest(app, pace.retry_delay(retry - 1))
            if app.again:
                break
        contract.sent += 1
        try:
            status, found, text = await contract.request(app, method, path, body)
        except OSError as problem:
            status, found, text = 0, {}, b""
            if app.debug:
                app.log(method, path, problem)
        if app.debug:
            app.log(method, path, status)
        said = _object(text) if status == 200 else None
        if said is not None:
            contract.worked = app.clock.ms()
            contract.paced.worked(what)
            return said
        contract.failed += 1
        if status == 429:
            contract.too_many += 1
            after = found.get("retry-after", "")
            contract.paced.too_many(app.clock.ms(), int(after) if after.isdigit() else 0)
            return None
        if 400 <= status < 500:
            # It would be refused again.
            break
    contract.paced.failed(what)
    if status in (401, 403, 404):
        raise contract.Refused(status)
    return None


def status(contract):
    """How the board is; of its token whether it is there."""
    found = late("about").standing(contract.app)
    found["device_id"] = contract.app.get("device_id")
    found["api_url"] = contract.app.get("api_url")
    for index in range(len(contract.states)):
        found[PINS[index]] = contract.states[index]
    return found
