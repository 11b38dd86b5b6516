"""How a board of contract thingsnxt begins (section 8). It keeps no connection: reaching the server is asking it."""

from late import late

SETUP = "Relevo-Board"
# What it is in before it is online.
STATE = "server"
NAMESPACE = "iot-config"
KEYS = ("device_id", "device_token", "api_url")


def begin(contract, pins):
    """Its outputs, which are off, its sensors, and what was kept in the non-volatile storage."""
    app, hal = contract.app, contract.app.hal
    if not any(app.get(name) for name in KEYS):
        more = late("about").hardware(app)
        kept = {name: more.nvs_read(NAMESPACE, name) for name in KEYS}
        try:
            app.put(**{name: kept[name] for name in KEYS if kept[name]})
        except ValueError as problem:
            app.log("config:", problem)
    words = late("thingsnxt_words")
    outputs = pins.get("outputs", (2, 4, 5, 18, 19))[: len(words.PINS)]
    contract.states = [0] * len(outputs)
    contract.put = hal.outputs(outputs, pins.get("low", False))
    contract.sensors = late("sensors").begin(app, pins)
    contract.request, contract.rest = _request, _rest
    contract.pace = late("pace")
    contract.paced = contract.pace.Pace(late("backoff").noise)


async def _request(*given):
    return await late("thingsnxt_words").request(*given)


async def _rest(*given):
    await late("thingsnxt_words").rest(*given)


async def prepare(contract):
    """There is nothing to find: the server is told."""


async def refused(contract):
    """Nobody gives it another token but who provisions it."""
    return False


def api(app):
    """Where updates are, empty where the board must not go."""
    try:
        return late("thingsnxt_words").api(app, late("httpc"))
    except OSError as problem:
        app.log("update:", problem)
        return ""
