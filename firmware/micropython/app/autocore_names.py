"""The functions whose names contract autocore fixes (section 7), for a prompt: a running board does the same by itself."""

import json

import app
import mq
from late import late


def _wait(name):
    contract = app.prepare().contract
    return app.wait(getattr(late("autocore_join"), name)(contract))


def check_device_registration():
    """True, False, or ``None`` when the backend does not say."""
    return _wait("check")


def register_device():
    return _wait("register")


def get_mqtt_config():
    return _wait("fetch")


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
    try:
        status, _, body = app.wait(late("httpc").request(method, url, data, None, timeout))
        return _Answer(status, body)
    except OSError:
        return None


def http_get(url, timeout=10):
    """An answer with ``status_code``, ``text`` and ``json()``, or ``None``."""
    return _request("GET", url, None, timeout)


def http_post(url, data, timeout=10):
    return _request("POST", url, data, timeout)


def start_integrated_server():
    """Everything, for ever: the page among it."""
    app.wait(app.prepare().run())
