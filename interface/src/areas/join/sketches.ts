// A first reading in the tools and languages that boards are written in, with everything filled in: they run as they are.
import { manners, type Account } from './contracts';

export type Tongue = 'mosquitto_pub' | 'MicroPython' | 'Arduino' | 'Python' | 'curl';
export const tongues: readonly Tongue[] = ['mosquitto_pub', 'MicroPython', 'Arduino', 'Python', 'curl'];

export interface Doors {
  host: string;
  mqtt: number;
  /** Scheme, host and port, where the API is. */
  http: string;
}

/** What has to be replaced, in the reader's language. */
export interface Blanks {
  wifi: string;
  password: string;
}

// Inside single quotes a shell knows one special character.
const shell = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
const text = (value: string) => JSON.stringify(value);

/** JSON is Python but for three words. */
function python(value: unknown): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') return `{${Object.entries(value as object).map(([name, held]) => `${text(name)}: ${python(held)}`).join(', ')}}`;
  return JSON.stringify(value);
}

type Writer = (account: Account, doors: Doors, blanks: Blanks) => string;

const mosquitto: Writer = (account, { host, mqtt }) => {
  const { topic, payload } = manners[account.contract];
  return [
    `mosquitto_pub -h ${shell(host)} -p ${mqtt} -u ${shell(account.user)} -P ${shell(account.key)}`,
    `-q 1 -t ${shell(topic(account))} -m ${shell(JSON.stringify(payload(account)))}`,
  ].join(' \\\n  ');
};

const curl: Writer = (account, doors) => {
  const { path, body, header } = manners[account.contract].http(account);
  const lines = [`curl -X POST ${shell(`${doors.http}${path}`)}`];
  if (header) lines.push(`-H ${shell(`Authorization: Bearer ${account.key}`)}`);
  lines.push(`-H 'Content-Type: application/json'`, `-d ${shell(JSON.stringify(body))}`);
  return lines.join(' \\\n  ');
};

const inPython: Writer = (account, { host, mqtt }) => {
  const { topic, payload } = manners[account.contract];
  return `# pip install paho-mqtt
import json
import time

import paho.mqtt.client as mqtt

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, ${text(account.user)})
client.username_pw_set(${text(account.user)}, ${text(account.key)})
client.on_connect = lambda client, data, flags, reason, properties: print("MQTT:", reason)
client.connect(${text(host)}, ${mqtt})
client.loop_start()
while True:
    reading = ${python(payload(account))}
    client.publish(${text(topic(account))}, json.dumps(reading), qos=1)
    time.sleep(10)`;
};

const micropython: Writer = (account, { host, mqtt }, blanks) => {
  const { topic, payload } = manners[account.contract];
  return `# mpremote mip install umqtt.simple
import json
import time

import network
from umqtt.simple import MQTTClient

wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect(${text(blanks.wifi)}, ${text(blanks.password)})
while not wlan.isconnected():
    time.sleep(1)

client = MQTTClient(${text(account.user)}, ${text(host)}, port=${mqtt},
                    user=${text(account.user)}, password=${text(account.key)}, keepalive=60)
client.connect()
while True:
    reading = ${python(payload(account))}
    client.publish(${text(topic(account))}, json.dumps(reading), qos=1)
    time.sleep(10)`;
};

const arduino: Writer = (account, { host, mqtt }, blanks) => {
  const { topic, payload } = manners[account.contract];
  return `// Library Manager: PubSubClient
#include <WiFi.h>
#include <PubSubClient.h>

WiFiClient network;
PubSubClient client(network);
unsigned long last = 0;

void setup() {
  Serial.begin(115200);
  WiFi.begin(${text(blanks.wifi)}, ${text(blanks.password)});
  while (WiFi.status() != WL_CONNECTED) delay(500);
  client.setServer(${text(host)}, ${mqtt});
  client.setBufferSize(1024);
}

void loop() {
  while (!client.connected()) {
    if (client.connect(${text(account.user)}, ${text(account.user)}, ${text(account.key)})) break;
    Serial.printf("MQTT: %d\\n", client.state());
    delay(5000);
  }
  client.loop();
  if (last == 0 || millis() - last > 10000) {
    last = millis();
    client.publish(${text(topic(account))}, ${text(JSON.stringify(payload(account)))});
  }
}`;
};

const writers: Record<Tongue, Writer> = { mosquitto_pub: mosquitto, MicroPython: micropython, Arduino: arduino, Python: inPython, curl };

export const sketch = (tongue: Tongue, account: Account, doors: Doors, blanks: Blanks): string => writers[tongue](account, doors, blanks);
