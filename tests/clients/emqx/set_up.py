"""An operator's script for contract emqx: makes everything that two boards need and prints their accounts as JSON."""

import json
import sys

import requests

base, username, password, broker_port = sys.argv[1:5]
session = requests.Session()
session.trust_env = False
answer = session.post(f"{base}/api/auth/login/", json={"username": username, "password": password})
answer.raise_for_status()
session.headers["Authorization"] = f"Bearer {answer.json()['access']}"


def make(path, body):
    made = session.post(f"{base}/api/{path}/", json=body)
    made.raise_for_status()
    return made.json()


broker = make(
    "mqtt/brokers",
    {"nombre": "Relevo", "host": "127.0.0.1", "port": int(broker_port), "protocol": "mqtt", "keepalive": 60},
)
data = make("mqtt/topics", {"nombre": "datos", "topic_pattern": "iot/sensors/{device_id}/data", "tipo": "publish"})
commands = make(
    "mqtt/topics", {"nombre": "comandos", "topic_pattern": "iot/devices/{device_id}/commands", "tipo": "subscribe"}
)
sensors = [
    make("sensors", {"nombre": "Temperatura", "tipo": "temperatura", "unidad_medida": "C", "rango_min": -40,
                     "rango_max": 80, "mqtt_topic_suffix": "temperature"}),
    make("sensors", {"nombre": "Humedad", "tipo": "humedad", "unidad_medida": "%", "mqtt_topic_suffix": "humidity"}),
]  # fmt: skip
accounts = []
for kind, client_id, account in (("esp32", "ESP32_001", "device_001"), ("raspberry_pi", "RPI_001", "device_002")):
    device = make(
        "devices",
        {"nombre": client_id, "tipo": kind, "identificador_unico": f"sn-{client_id}", "mqtt_enabled": True,
         "mqtt_client_id": client_id},
    )  # fmt: skip
    secret = f"secret-of-{client_id}"
    make(
        "mqtt/credentials",
        {"dispositivo": device["id"], "client_id": client_id, "username": account, "password": secret},
    )
    make(
        "mqtt/device-config",
        {"dispositivo": device["id"], "broker": broker["id"], "publish_topic": data["id"],
         "subscribe_topics": [commands["id"]], "publish_interval": 60, "qos": 1},
    )  # fmt: skip
    for sensor in sensors:
        make(f"devices/{device['id']}/assign-sensor", {"sensor_id": sensor["id"], "configuracion_json": {}})
    accounts.append({"id": device["id"], "client_id": client_id, "username": account, "password": secret})
print(json.dumps({"accounts": accounts, "broker": broker["id"]}))
