"""How a water meter of contract hidrometro begins and connects (sections 2, 3 and 8)."""

from flow import Flow
from late import late

SETUP = "Relevo-Meter"
EVERY_MS = 1000


def begin(contract, pins):
    """Who the meter is, its sensor, button and lamp, and what it counted before."""
    app, hal = contract.app, contract.app.hal
    joining, about, words = late("joining"), late("about"), late("hidrometro_words")
    joining.named(app, "HX" + about.tail(app).upper(), "Water meter")
    contract.known = words.kept()
    contract.flow = Flow(*contract.known)
    contract.pulses = about.hardware(app).counter(pins.get("sensor", 2))
    contract.button = hal.reads(pins.get("button", 4))
    contract.lamp = hal.outputs((pins.get("led", 13),), False)


async def prepare(contract):
    await late("joining").prepare(contract.app)


async def refused(contract):
    """Nobody gives a meter other credentials."""
    return False


def ident(contract):
    return "hidrometro-" + late("about").tail(contract.app, 6)


def broker(contract):
    """Host, port, user, password, whether it is secure. Its user name is its id at the server."""
    app = contract.app
    return late("joining").broker(app, "hidrometro-" + app.get("device_uuid").strip().upper())


def will(contract):
    return None


def topics(contract):
    return (contract.app.get("topic_cmd"),)


def hello(contract):
    contract.app.values["mqtt_connected"] = True
