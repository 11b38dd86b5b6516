"""Contract autocore: a relay board that registers over HTTP, fetches its broker settings and lives on MQTT."""

import json

import app
import mq
from commands import Done, ident
from relays import PULSE_MOST, Relays
from session import Session

# Usual value, and the longest text or highest number.
FIELDS = {
    "device_uuid": ("", 36),
    "device_id": ("", 64),
    "device_name": ("", 64),
    "wifi_ssid": ("", 32),
    "wifi_password": ("", 63),
    "backend_ip": ("", 63),
    "backend_port": (8081, 65535),
    "backend_tls": (False, 0),
    "mqtt_broker": ("", 63),
    "mqtt_port": (1883, 65535),
    "mqtt_tls": (False, 0),
    "mqtt_username": (None, 64),
    "mqtt_password": (None, 128),
    "mqtt_topic_prefix": ("autocore", 31),
    "mqtt_connected": (False, 0),
    "backend_registered": (False, 0),
    "last_mqtt_config_check": (0, 4294967295),
    "relay_channels": (16, 32),
    "configured": (False, 0),
    # What the server gives a board beside its contract: with it the board gets credentials of its own.
    "device_token": ("", 128),
    # Of the set-up's network and of the board's page.
    "page_password": ("", 63),
}
SECRETS = ("wifi_password", "mqtt_password", "device_token", "page_password")
PASSING = ("mqtt_connected", "last_mqtt_config_check")
OLDER = {"mqtt_user": "mqtt_username", "mqtt_registered": "backend_registered"}
FUNCTIONS = (
    "check_device_registration",
    "register_device",
    "get_mqtt_config",
    "connect_mqtt",
    "update_mqtt_status",
    "mqtt_callback",
    "http_get",
    "http_post",
    "start_integrated_server",
)
# Who the board is, and what is connected to it: kept when everything else is forgotten.
LASTING = ("device_uuid", "device_id", "relay_channels", "page_password")
CACHE_MS = 300000
REGISTER_MS = 60000
RELAYS_MOST = 32


def _error(error):
    return {"type": "error", "error": error}


def told(payload, relays):
    """A command: its answer so far, and what to do: ``None``, or a word and what belongs to it.

    ``relays`` is how many there are. Whatever is wrong with a command does nothing.
    """
    try:
        command = json.loads(payload)
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


class Contract(Session):
    """See the module; ``pins`` names ``relays``, ``inputs`` and whether relays are on at a ``low`` level."""

    NAME = "autocore"
    SETUP = "ESP32-Relay"
    Refused = mq.Refused

    def __init__(self, owner, pins):
        super().__init__(owner)
        hal, config = owner.hal, owner.config
        get = owner.get
        mac = hal.mac()
        tail = "".join("%02x" % byte for byte in mac[-3:])
        self.mac = ":".join("%02X" % byte for byte in mac)
        usual = {
            "device_uuid": "550e8400-e29b-41d4-a716-" + tail,
            "device_id": "esp32_relay_" + tail,
            "device_name": "ESP32 Relay " + tail,
        }
        config.put(**{name: usual[name] for name in usual if not get(name)})
        count = get("relay_channels")
        low = pins.get("low", True)
        outputs = [hal.output(number, low) for number in pins.get("relays", ())[:count]]
        self.relays = Relays(outputs, count, owner.clock.ms)
        self._inputs = [(number, hal.reads(number)) for number in pins.get("inputs", ())]
        self._done = Done()
        self._fetched = None
        self._asked = None

    # The backend

    async def ask(self, method, path, body=None):
        """Status and what the answer's JSON says; ``(0, None)`` when there is no answer."""
        get = self.app.get
        if not get("backend_ip"):
            return 0, None
        url = "%s://%s:%d%s" % ("https" if get("backend_tls") else "http", get("backend_ip"), get("backend_port"), path)
        token = get("device_token")
        import httpc

        try:
            status, _, text = await httpc.request(
                method, url, body, {"Authorization": "Bearer " + token} if token else None
            )
            return status, json.loads(text) if text else None
        except OSError as problem:
            self.app.log("backend:", problem)
        except (ValueError, UnicodeError):
            return status, None
        finally:
            app.drop("httpc")
        return 0, None

    async def check(self):
        """True, False, or ``None`` when the backend does not say."""
        status = (await self.ask("GET", "/api/devices/uuid/" + self.app.get("device_uuid")))[0]
        if status not in (200, 404):
            return None
        self.app.config.put(backend_registered=status == 200)
        return status == 200

    def about(self):
        get = self.app.get
        return {
            "uuid": get("device_uuid"),
            "name": get("device_name"),
            "type": "esp32_relay",
            "mac_address": self.mac,
            "ip_address": self.app.wifi.ip(),
            "firmware_version": self.app.version,
            "hardware_version": "esp32",
            "relay_channels": len(self.relays.states),
            "capabilities": ["relay"],
        }

    async def register(self):
        """Whether the backend knows the board now."""
        status, said = await self.ask("POST", "/api/devices", self.about())
        if status not in (200, 201, 409):
            return False
        given = {"backend_registered": True}
        if isinstance(said, dict) and isinstance(said.get("device_token"), str):
            given["device_token"] = said["device_token"]
        self.app.config.put(**given)
        return True

    async def fetch(self):
        """Whether broker settings were fetched, now or within five minutes; otherwise what is stored stays."""
        now = self.app.clock.ms()
        if self._fetched is not None and now - self._fetched < CACHE_MS:
            return True
        status, said = await self.ask("GET", "/api/mqtt/config")
        if status != 200:
            return False
        try:
            self.app.config.put(last_mqtt_config_check=self.app.clock.unix(), **broker_settings(said))
        except ValueError as problem:
            self.app.log("backend:", problem)
            return False
        self._fetched = now
        return True

    async def prepare(self):
        """Find the backend, be registered, know the broker. Nothing of it has to work."""
        owner = self.app
        if not owner.get("backend_ip") and not owner.get("mqtt_broker"):
            await self._find()
        owner.enter("register")
        await self._look_up()
        owner.enter("config")
        await self.fetch()

    async def _find(self):
        import discovery

        try:
            host, port = await discovery.find()
            self.app.log("found a backend at", host, port)
            self.app.config.put(backend_ip=host, backend_port=port)
        except OSError as problem:
            self.app.log("discovery:", problem)
        finally:
            app.drop("discovery")

    async def _look_up(self):
        self._asked = self.app.clock.ms()
        if await self.check() is False:
            await self.register()

    async def meanwhile(self):
        # Who was not let in asks again now and then, while everything else goes on.
        if not self.app.get("backend_registered") and self.app.clock.ms() - self._asked >= REGISTER_MS:
            await self._look_up()

    async def refused(self):
        """The broker does not take the credentials: fetch others. Whether there are some."""
        get = self.app.get
        before = get("mqtt_username"), get("mqtt_password"), get("mqtt_broker")
        self._fetched = None
        await self.fetch()
        return before != (get("mqtt_username"), get("mqtt_password"), get("mqtt_broker"))

    # The broker

    def topic(self, channel):
        return "%s/devices/%s/%s" % (self.app.get("mqtt_topic_prefix"), self.app.get("device_uuid"), channel)

    def ident(self):
        return self.app.get("device_uuid")

    def broker(self):
        get = self.app.get
        return get("mqtt_broker"), get("mqtt_port"), get("mqtt_tls"), get("mqtt_username"), get("mqtt_password")

    def will(self):
        gone = {"uuid": self.app.get("device_uuid"), "status": "offline", "reason": "lwt"}
        return self.topic("status"), json.dumps(gone)

    def topics(self):
        return self.topic("command"), self.topic("relays/heartbeat")

    def hello(self):
        self.app.config.put(mqtt_connected=True)
        said = self.about()
        said["device_id"] = self.app.get("device_id")
        self.say(self.topic("announce"), json.dumps(said), 1, True)
        self.beat()

    async def end(self, politely=False):
        self.app.config.put(mqtt_connected=False)
        await super().end(politely)

    def status(self):
        # Relays as ``relays``: a status with ``relay_states`` is how boards of an older kind are known.
        owner = self.app
        return {
            "uuid": owner.get("device_uuid"),
            "status": "online",
            "uptime": owner.clock.ms() // 1000,
            "wifi_rssi": owner.wifi.rssi(),
            "free_memory": owner.hal.free(),
            "ip_address": owner.wifi.ip(),
            "firmware_version": owner.version,
            "relays": list(self.relays.states),
            "reset_cause": owner.cause,
            "failures": owner.sup.failures,
            "dropped": owner.outbox.dropped,
        }

    def beat(self):
        """Say how the board is; kept by the broker in the place of the last will. Whether that left."""
        return self.say(self.topic("status"), json.dumps(self.status()), 1, True)

    def heard(self, topic, payload):
        if topic == self.topic("command"):
            self._command(payload)
        elif topic == self.topic("relays/heartbeat"):
            try:
                channel = json.loads(payload).get("channel")
            except (ValueError, AttributeError, UnicodeError):
                return
            if _whole(channel, 1, len(self.relays.states)):
                self.relays.beat(channel)

    def _command(self, payload):
        said, do = told(payload, len(self.relays.states))
        name = ident(said.get("request_id"))
        known = self._done.answer(name) if name and do is not None else None
        if known is not None:
            self.say(self.topic("response"), known)
            return
        kind = do[0] if do is not None else ""
        if kind == "ping":
            said["timestamp"] = self.app.clock.ms() // 1000
        elif kind == "status":
            said["data"] = self.status()
        elif kind == "update" and self.app.look is None:
            said["type"], said["error"] = "error", "unknown_type"
        text = json.dumps(said)
        moves = kind == "relay"
        if name and (moves or kind == "update"):
            try:
                self._done.note(name, text, moves)
            except OSError:
                # It could be carried out twice after a reset: not at all, then.
                said = _error("flash")
                said["request_id"] = name
                text, moves = json.dumps(said), False
        if moves:
            self.relays.switch(*do[1:])
        self.say(self.topic("response"), text)
        if kind == "update" and self.app.look is not None:
            self.app.later(self.app.look)

    # Readings

    def sample(self):
        """What is measured every now and then."""
        values = {"input_%d" % number: read() for number, read in self._inputs}
        if values:
            values["relays_on"] = sum(self.relays.states)
            if self.app.outbox.dropped:
                values["outbox_dropped"] = self.app.outbox.dropped
        return values

    def reading(self, entry):
        text = entry[4][:-1] + ', "boot": %d, "seq": %d' % (entry[0], entry[1])
        age = self.app.outbox.age(entry)
        if age is not None:
            text += ', "age_ms": %d' % age
        return self.topic("telemetry"), text + "}", 1

    def tick(self):
        # A status says that a relay went off by itself.
        if self.relays.tick():
            self.beat()


# The names that the contract fixes, for a prompt: the running board does the same by itself.


def check_device_registration():
    """True, False, or ``None`` when the backend does not say."""
    return app.wait(app.prepare().contract.check())


def register_device():
    return app.wait(app.prepare().contract.register())


def get_mqtt_config():
    return app.wait(app.prepare().contract.fetch())


def connect_mqtt():
    """Whether the board is connected, announced and listening."""
    try:
        app.wait(app.prepare().contract.connect())
        return True
    except (OSError, mq.Refused) as problem:
        print("mqtt:", problem)
        return False


def update_mqtt_status():
    """Whether a status left."""
    contract = app.prepare().contract
    if not contract.beat():
        return False
    try:
        app.wait(contract.client.flush())
        return True
    except OSError:
        return False


def mqtt_callback(topic, msg):
    """A message of the broker: only commands for this board mean something."""
    app.prepare().contract.heard(topic.decode() if isinstance(topic, bytes) else topic, msg)


class _Answer:
    def __init__(self, status, data):
        self.status_code = status
        self.content = data

    @property
    def text(self):
        return self.content.decode()

    def json(self):
        """Raises ValueError."""
        return json.loads(self.content)

    def close(self):
        pass


def _request(method, url, data, timeout):
    import httpc

    try:
        status, _, body = app.wait(httpc.request(method, url, data, None, timeout))
        return _Answer(status, body)
    except OSError:
        return None
    finally:
        app.drop("httpc")


def http_get(url, timeout=10):
    """An answer with ``status_code``, ``text`` and ``json()``, or ``None``."""
    return _request("GET", url, None, timeout)


def http_post(url, data, timeout=10):
    return _request("POST", url, data, timeout)


def start_integrated_server():
    """Everything, for ever: the page among it."""
    app.wait(app.prepare().run())
