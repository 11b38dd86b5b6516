"""What the Raspberry Pi script of contract emqx does, with callbacks of paho's second version.

Nested payload, Unix seconds, quality of service 1, subscribed in the connect callback, a network loop in the background
and a clean stop on interrupt. Commands are JSON; text that is not stops nothing.
"""

import json
import signal
import sys
import time

import paho.mqtt.client as mqtt

host, port, client_id, username, password, interval = sys.argv[1:7]


class Board:
    def __init__(self):
        self.running = True
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id)
        self.client.username_pw_set(username, password)
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message
        signal.signal(signal.SIGINT, self.stop)

    def stop(self, *_):
        self.running = False

    def on_connect(self, client, userdata, flags, reason_code, properties):
        print(f"connected {reason_code}", flush=True)
        if reason_code == 0:
            client.subscribe(f"iot/devices/{client_id}/commands", qos=1)

    def on_message(self, client, userdata, message):
        try:
            command = json.loads(message.payload)
            print(f"command {message.qos} {command.get('command')}", flush=True)
        except ValueError:
            print(f"text {message.payload.decode()}", flush=True)

    def run(self):
        self.client.connect(host, int(port), keepalive=60)
        self.client.loop_start()
        n = 0
        while self.running:
            body = {
                "device_id": client_id,
                "sensors": {"temperature": 21.7 + n, "humidity": 48.2 + n},
                "timestamp": int(time.time()),
            }
            if self.client.is_connected():
                self.client.publish(f"iot/sensors/{client_id}/data", json.dumps(body), qos=1, retain=False)
                n += 1
            time.sleep(float(interval))
        self.client.disconnect()
        self.client.loop_stop()
        print("stopped", flush=True)


Board().run()
