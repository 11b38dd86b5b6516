"""What the board says and hears over MQTT, as values: nothing here knows a socket or a pin."""

import json

VERSION = "1.0.0"
OFFLINE = "offline"


def uuid_of(mac):
    """The board's identity, from the six bytes of its MAC address; the last three stand at the end."""
    return "550e8400-e29b-41d4-a716-" + "".join("%02x" % byte for byte in mac[-3:])


def mac_text(mac):
    return ":".join("%02X" % byte for byte in mac)


def root(prefix, uuid):
    return "%s/devices/%s" % (prefix, uuid)


def registration(settings, mac, ip):
    """The body of POST /api/devices."""
    return {
        "uuid": settings.get("device_uuid"),
        "name": settings.get("device_name"),
        "type": "esp32_relay",
        "mac_address": mac,
        "ip_address": ip,
        "firmware_version": VERSION,
        "hardware_version": "esp32",
        "relay_channels": settings.get("relay_channels"),
        "capabilities": ["relay"],
    }


def announcement(settings, mac, ip):
    said = registration(settings, mac, ip)
    said["device_id"] = settings.get("device_id")
    return said


def status(settings, uptime, rssi, free, ip, relays):
    """Relays as ``relays``: a status with ``relay_states`` is how boards of an older kind are known."""
    return {
        "uuid": settings.get("device_uuid"),
        "status": "online",
        "uptime": uptime,
        "wifi_rssi": rssi,
        "free_memory": free,
        "ip_address": ip,
        "firmware_version": VERSION,
        "relays": [1 if on else 0 for on in relays],
    }


def last_will(uuid):
    return {"uuid": uuid, "status": OFFLINE, "reason": "lwt"}


def _no_json(error):
    return {"type": "error", "error": error}


def answer(payload, relays, seconds, full_status):
    """The answer to a command, and which relay goes where: ``(answer, (channel, state) or None)``.

    ``relays`` is how many there are, ``seconds`` the board's clock, ``full_status()`` its status. Whatever is wrong
    with a command moves no relay.
    """
    try:
        command = json.loads(payload)
    except ValueError:
        return _no_json("invalid_json"), None
    if not isinstance(command, dict):
        return _no_json("invalid_json"), None
    said, move = _obey(command, relays, seconds, full_status)
    echo = command.get("request_id")
    if isinstance(echo, (str, int)) and not isinstance(echo, bool):
        said["request_id"] = echo
    return said, move


def _obey(command, relays, seconds, full_status):
    kind = command.get("type")
    if kind == "ping":
        return {"type": "pong", "timestamp": seconds}, None
    if kind == "status":
        return {"type": "status", "data": full_status()}, None
    if kind != "relay":
        return _no_json("unknown_type"), None
    channel, state = command.get("channel"), command.get("state")
    if not isinstance(channel, int) or isinstance(channel, bool) or not 1 <= channel <= relays:
        return _no_json("invalid_channel"), None
    if not isinstance(state, bool):
        return _no_json("invalid_state"), None
    return {"type": "relay_response", "channel": channel, "state": state}, (channel, state)


def broker_settings(body):
    """Our settings from the answer of /api/mqtt/config; ``None`` when it is none."""
    if not isinstance(body, dict):
        return None
    broker = body.get("broker") or body.get("broker_host")
    port = body.get("port") or body.get("broker_port") or 1883
    prefix = body.get("topic_prefix") or "autocore"
    username, password = body.get("username"), body.get("password")
    if not isinstance(broker, str) or not isinstance(port, int) or not isinstance(prefix, str):
        return None
    for one in (username, password):
        if one is not None and not isinstance(one, str):
            return None
    return {
        "mqtt_broker": broker,
        "mqtt_port": port,
        "mqtt_username": username,
        "mqtt_password": password,
        "mqtt_topic_prefix": prefix,
    }
