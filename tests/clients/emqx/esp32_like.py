"""What the ESP32 sketch of contract emqx does, in Python with callbacks of paho's first version.

Flat payload glued together as text, milliseconds since the start, quality of service 0, commands subscribed after every
connect.
"""

import signal
import sys
import time

import paho.mqtt.client as mqtt

host, port, client_id, username, password, interval = sys.argv[1:7]
begun = time.monotonic()
running = True


def stop(*_):
    global running
    running = False


def on_connect(client, userdata, flags, rc):
    print(f"connected {rc}", flush=True)
    client.subscribe(f"iot/devices/{client_id}/commands")


def on_message(client, userdata, msg):
    print(f"command {msg.qos} {msg.payload.decode()}", flush=True)


signal.signal(signal.SIGINT, stop)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id)
client.username_pw_set(username, password)
client.on_connect = on_connect
client.on_message = on_message
client.connect(host, int(port), 60)
client.loop_start()
n = 0
while running:
    millis = int((time.monotonic() - begun) * 1000)
    humidity = "nan" if n == 1 else f"{48.2 + n:.2f}"
    text = f'{{"device_id":"{client_id}","temperature":{21.75 + n:.2f},"humidity":{humidity},"timestamp":{millis}}}'
    if client.is_connected():
        client.publish(f"iot/sensors/{client_id}/data", text)
        n += 1
    time.sleep(float(interval))
client.disconnect()
client.loop_stop()
print("stopped", flush=True)
