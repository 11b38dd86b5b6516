"""How a board of contract native begins and connects."""

import json

from late import late

SETUP = "Relevo-Sensor"


def begin(contract, pins):
    """Who the board is, its sensors, and its outputs by name, which are off."""
    app, hal = contract.app, contract.app.hal
    late("joining").named(app, "esp32-" + late("about").tail(app, 6), "Climate")
    if app.get("interval_s"):
        app.telemetry = app.get("interval_s") * 1000
    contract.sensors = late("sensors").begin(app, pins)
    outputs = pins.get("outputs", {})
    contract.names = sorted(outputs)
    contract.states = [False] * len(contract.names)
    contract.put = hal.outputs([outputs[name] for name in contract.names], pins.get("low", False))


async def prepare(contract):
    await late("joining").prepare(contract.app)


async def refused(contract):
    """Nobody gives such a board other credentials."""
    return False


def ident(contract):
    return contract.app.get("device_uuid")


def broker(contract):
    """Host, port, user, password, whether it is secure."""
    return late("joining").broker(contract.app, ident(contract))


def will(contract):
    return contract.topic("status"), "offline"


def topics(contract):
    return [contract.topic(name) for name in ("command", "desired", "update/manifest", "update/image")]


def hello(contract):
    """What the board is comes before it says that it is there: who desires something else then says so at once."""
    contract.app.values["mqtt_connected"] = True
    late("native_words").tell(contract)
    contract.say(contract.topic("status"), "online", 1, True)
