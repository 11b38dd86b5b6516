"""One relay board: who it is, what it fetches, and its life on MQTT. Hardware, clock and libraries are handed in."""

import json

import words

CACHE_S = 300
HEARTBEAT_S = 30
RECONNECT_S = 60
# What the loop may wait for; a start has more time.
SHORT_S = 1


class Board:
    """``pins[n](on)`` switches relay ``n`` (from 0), ``now()`` gives whole seconds that never jump.

    ``request(method, url, body, timeout, headers)`` gives an answer or ``None``; ``mqtt`` makes a client as ``umqtt``
    has it, ``None`` where there is none; ``reachable(host, port, timeout)`` says whether it is worth a try. ``network`` has ``ip()``, ``rssi()``, ``rejoin(ssid, password)`` and ``mac``.
    """

    def __init__(self, settings, pins, now, request, mqtt, network, free, reachable=None, log=print):
        self.settings = settings
        self._pins = pins
        self._now = now
        self._request = request
        self._mqtt = mqtt
        self._network = network
        self._free = free
        self._reachable = reachable
        self._log = log
        self.client = None
        self.relays = [False] * settings.get("relay_channels")
        self._began = now()
        self._beat_at = 0
        self._tried_at = 0
        # What is left of an attempt: one thing each round, so that no round takes long.
        self._todo = []
        for pin in pins:
            pin(False)

    # The backend

    def _url(self, path):
        return "http://%s:%d%s" % (self.settings.get("backend_ip"), self.settings.get("backend_port"), path)

    def _headers(self):
        token = self.settings.get("device_token")
        return {"Authorization": "Bearer " + token} if token else {}

    def _ask(self, method, path, body=None, timeout=10):
        if not self.settings.get("backend_ip"):
            return None
        return self._request(method, self._url(path), body, timeout, self._headers())

    def check_device_registration(self, timeout=10):
        """True, False, or ``None`` when the backend does not say."""
        answer = self._ask("GET", "/api/devices/uuid/" + self.settings.get("device_uuid"), None, timeout)
        if answer is None or answer.status_code not in (200, 404):
            return None
        self.settings.put(backend_registered=answer.status_code == 200)
        return answer.status_code == 200

    def register_device(self, timeout=10):
        """Whether the backend knows the board now."""
        body = words.registration(self.settings, self._network.mac, self._network.ip())
        answer = self._ask("POST", "/api/devices", body, timeout)
        if answer is None or answer.status_code not in (200, 201, 409):
            return False
        given = {"backend_registered": True}
        try:
            token = answer.json().get("device_token")
            if isinstance(token, str):
                given["device_token"] = token
        except (ValueError, AttributeError):
            pass
        self.settings.put(**given)
        return True

    def get_mqtt_config(self, timeout=10):
        """Whether broker settings were fetched, now or within five minutes; otherwise what is stored stays."""
        last, now = self.settings.get("last_mqtt_config_check"), self._now()
        if last and 0 <= now - last < CACHE_S:
            return True
        answer = self._ask("GET", "/api/mqtt/config", None, timeout)
        if answer is None or answer.status_code != 200:
            return False
        try:
            found = words.broker_settings(answer.json())
        except ValueError:
            found = None
        if found is None:
            return False
        try:
            self.settings.put(last_mqtt_config_check=max(now, 1), **found)
        except ValueError:
            return False
        return True

    # MQTT

    def _topic(self, channel):
        return words.root(self.settings.get("mqtt_topic_prefix"), self.settings.get("device_uuid")) + "/" + channel

    def _publish(self, channel, body, retain=False):
        """Whether it left; a broken connection is forgotten."""
        if self.client is None:
            return False
        try:
            self.client.publish(self._topic(channel).encode(), json.dumps(body).encode(), retain)
        except Exception as problem:  # also what umqtt raises when its socket is gone
            self._lost(problem)
            return False
        return True

    def _lost(self, problem):
        self._log("MQTT connection lost:", problem)
        client, self.client = self.client, None
        self.settings.put(mqtt_connected=False)
        sock = getattr(client, "sock", None)
        if sock is not None:
            try:
                sock.close()
            except OSError:
                pass

    def connect_mqtt(self, timeout=10):
        """Connect with a last will, listen for commands, announce, and say how the board is."""
        get = self.settings.get
        self._tried_at = self._now()
        if self._mqtt is None or not get("mqtt_broker"):
            return False
        if self._reachable is not None and not self._reachable(get("mqtt_broker"), get("mqtt_port"), timeout):
            # umqtt waits for as long as the network lets it.
            return False
        try:
            client = self._mqtt(
                get("device_uuid"),
                get("mqtt_broker"),
                get("mqtt_port"),
                get("mqtt_username"),
                get("mqtt_password"),
                2 * HEARTBEAT_S,
            )
            client.set_callback(self.mqtt_callback)
            will = json.dumps(words.last_will(get("device_uuid")))
            client.set_last_will(self._topic("status").encode(), will.encode(), True, 1)
            try:
                client.connect(True, timeout)
            except TypeError:
                # Older versions know no timeout.
                client.connect()
            self.client = client
            client.subscribe(self._topic("command").encode(), 1)
        except Exception as problem:  # umqtt has one of its own for a refused CONNECT
            self._lost(problem)
            return False
        self.settings.put(mqtt_connected=True)
        announced = words.announcement(self.settings, self._network.mac, self._network.ip())
        return self._publish("announce", announced, True) and self.update_mqtt_status()

    def status(self):
        return words.status(
            self.settings,
            self._now() - self._began,
            self._network.rssi(),
            self._free(),
            self._network.ip(),
            self.relays,
        )

    def update_mqtt_status(self):
        """Say how the board is; whether that left."""
        self._beat_at = self._now()
        # Kept by the broker, so that it takes the place of the last will.
        return self._publish("status", self.status(), True)

    def mqtt_callback(self, topic, message):
        """A message of the broker: only commands for this board mean something."""
        name = topic.decode() if isinstance(topic, bytes) else topic
        if name != self._topic("command"):
            return
        try:
            text = message.decode() if isinstance(message, bytes) else message
        except UnicodeError:
            text = ""
        answer, move = words.answer(text, len(self.relays), self._now(), self.status)
        if move is not None:
            self.switch(*move)
        self._publish("response", answer)

    def switch(self, channel, on):
        """Let relay ``channel``, from 1, be on or off."""
        if channel <= len(self._pins):
            self._pins[channel - 1](on)
        self.relays[channel - 1] = on

    # Life

    def start(self):
        """After the network is there: registration, broker settings, MQTT. Nothing of it has to work."""
        if self.check_device_registration() is False:
            self.register_device()
        self.get_mqtt_config()
        self.connect_mqtt()

    def step(self):
        """One round of the loop: messages, heartbeat, and a new attempt when it is time for one."""
        if self.client is not None:
            try:
                self.client.check_msg()
            except Exception as problem:
                self._lost(problem)
        now = self._now()
        if self.client is not None and now - self._beat_at >= HEARTBEAT_S:
            self.update_mqtt_status()
        if self._todo:
            self._todo.pop(0)()
        elif now - self._tried_at >= RECONNECT_S:
            self._tried_at = now
            self._network.rejoin(self.settings.get("wifi_ssid"), self.settings.get("wifi_password"))
            if not self.settings.get("backend_registered"):
                self._todo.append(self._look_up)
            if self.client is None:
                self._todo += [lambda: self.get_mqtt_config(SHORT_S), self._connect_again]

    def _look_up(self):
        if self.check_device_registration(SHORT_S) is False:
            self._todo.insert(0, lambda: self.register_device(SHORT_S))

    def _connect_again(self):
        if self.client is None:
            self.connect_mqtt(SHORT_S)

    def standing(self):
        """What the board's own page shows to programs."""
        get = self.settings.get
        shown = self.status()
        shown["device_name"] = get("device_name")
        shown["backend_registered"] = get("backend_registered")
        shown["mqtt_connected"] = get("mqtt_connected")
        shown["mqtt_broker"] = get("mqtt_broker")
        return shown
