"""How a relay board of contract autocore registers, learns where the broker is and greets it (sections 3.1, 4 and 7)."""

import json

from late import late
from relays import Relays

SETUP = "ESP32-Relay"
CACHE_MS = 300000
REGISTER_MS = 60000


def begin(contract, pins):
    """Who the board is, its relays and inputs; ``pins`` names them and says whether relays are on at a ``low`` level."""
    app = contract.app
    hal = app.hal
    mac = hal.mac()
    tail = "".join("%02x" % byte for byte in mac[-3:])
    usual = {
        "device_uuid": "550e8400-e29b-41d4-a716-" + tail,
        "device_id": "esp32_relay_" + tail,
        "device_name": "ESP32 Relay " + tail,
    }
    app.put(**{name: usual[name] for name in usual if not app.get(name)})
    count = app.get("relay_channels")
    low = pins.get("low", True)
    wired = pins.get("relays", ())[:count]
    contract.relays = Relays(hal.outputs(wired, low), len(wired), count, app.clock.ms)
    contract.inputs = [(number, hal.reads(number)) for number in pins.get("inputs", ())]


# The backend


async def ask(contract, method, path, body=None):
    """Status and what the answer's JSON says; ``(0, None)`` when there is no answer."""
    app = contract.app
    get = app.get
    if not get("backend_ip"):
        return 0, None
    url = "%s://%s:%d%s" % ("https" if get("backend_tls") else "http", get("backend_ip"), get("backend_port"), path)
    token = get("device_token")
    headers = {"Authorization": "Bearer " + token} if token else None
    try:
        status, _, text = await late("httpc").request(method, url, body, headers)
    except OSError as problem:
        app.log("backend:", problem)
        return 0, None
    try:
        return status, json.loads(text)
    except (ValueError, UnicodeError):
        return status, None


async def check(contract):
    """True, False, or ``None`` when the backend does not say."""
    status = (await ask(contract, "GET", "/api/devices/uuid/" + contract.app.get("device_uuid")))[0]
    if status not in (200, 404):
        return None
    contract.app.put(backend_registered=status == 200)
    return status == 200


def about(contract):
    """What a registration and an announcement say of the board."""
    app = contract.app
    return {
        "uuid": app.get("device_uuid"),
        "name": app.get("device_name"),
        "type": "esp32_relay",
        "mac_address": ":".join("%02X" % byte for byte in app.hal.mac()),
        "ip_address": app.station.ip(),
        "firmware_version": app.version,
        "hardware_version": "esp32",
        "relay_channels": len(contract.relays.states),
        "capabilities": ["relay"],
    }


async def register(contract):
    """Whether the backend knows the board now."""
    status, said = await ask(contract, "POST", "/api/devices", about(contract))
    if status not in (200, 201, 409):
        return False
    given = {"backend_registered": True}
    if isinstance(said, dict) and isinstance(said.get("device_token"), str):
        given["device_token"] = said["device_token"]
    contract.app.put(**given)
    return True


def broker_settings(body):
    """Our settings from the answer of /api/mqtt/config. Raises ValueError when it is none."""
    if not isinstance(body, dict):
        raise ValueError("settings must be an object")
    found = {
        "mqtt_broker": body.get("broker") or body.get("broker_host"),
        "mqtt_port": body.get("port") or body.get("broker_port") or 1883,
        "mqtt_username": body.get("username"),
        "mqtt_password": body.get("password"),
        "mqtt_topic_prefix": body.get("topic_prefix") or "autocore",
    }
    if not found["mqtt_broker"]:
        raise ValueError("settings name no broker")
    return found


async def fetch(contract):
    """Whether broker settings were fetched, now or within five minutes; otherwise what is stored stays."""
    app = contract.app
    now = app.clock.ms()
    if contract.fetched is not None and now - contract.fetched < CACHE_MS:
        return True
    status, said = await ask(contract, "GET", "/api/mqtt/config")
    if status != 200:
        return False
    try:
        app.put(last_mqtt_config_check=app.clock.unix(), **broker_settings(said))
    except ValueError as problem:
        app.log("backend:", problem)
        return False
    contract.fetched = now
    return True


async def prepare(contract):
    """Find the backend, be registered, know the broker. Nothing of it has to work."""
    app = contract.app
    if not app.get("backend_ip") and not app.get("mqtt_broker"):
        try:
            host, port = await late("discovery").find()
            app.log("found a server at", host, port)
            app.put(backend_ip=host, backend_port=port)
        except OSError as problem:
            app.log("discovery:", problem)
    app.enter("register")
    await again(contract)
    app.enter("config")
    await fetch(contract)


async def again(contract):
    """Look the board up and register it, unless that was tried within a minute."""
    now = contract.app.clock.ms()
    if contract.asked is None or now - contract.asked >= REGISTER_MS:
        contract.asked = now
        if await check(contract) is False:
            await register(contract)


async def refused(contract):
    """The broker does not take the credentials: fetch others. Whether there are some."""
    get = contract.app.get
    names = ("mqtt_username", "mqtt_password", "mqtt_broker", "mqtt_port")
    before = [get(name) for name in names]
    contract.fetched = None
    await fetch(contract)
    return before != [get(name) for name in names]


# The broker


def ident(contract):
    return contract.app.get("device_uuid")


def broker(contract):
    """Host, port, user name, password, whether it is secure."""
    get = contract.app.get
    return get("mqtt_broker"), get("mqtt_port"), get("mqtt_username"), get("mqtt_password"), get("mqtt_tls")


def will(contract):
    gone = {"uuid": contract.app.get("device_uuid"), "status": "offline", "reason": "lwt"}
    return contract.topic("status"), json.dumps(gone)


def topics(contract):
    names = ("command", "relays/heartbeat", "update/manifest", "update/image")
    return [contract.topic(name) for name in names]


def hello(contract):
    """Announce the board, and say how it is."""
    app = contract.app
    app.values["mqtt_connected"] = True
    said = about(contract)
    said["device_id"] = app.get("device_id")
    contract.say(contract.topic("announce"), json.dumps(said), 1, True)
    contract.beat()
