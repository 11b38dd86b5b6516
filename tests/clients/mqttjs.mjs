// MQTT.js driven from outside: one JSON object a line in, answers and messages out. Arguments: the directory that holds
// node_modules. Binary values travel as base64.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const mqtt = createRequire(`${process.argv[2]}/`)("mqtt");
const clients = new Map();

function say(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}

function outward(properties) {
  if (!properties) return undefined;
  const { correlationData, ...rest } = properties;
  if (correlationData !== undefined) rest.correlationData = Buffer.from(correlationData, "base64");
  return rest;
}

function inward(properties = {}) {
  const { correlationData, ...rest } = properties;
  // MQTT.js makes these without a prototype, with an array where a name occurs more than once.
  if (rest.userProperties) rest.userProperties = { ...rest.userProperties };
  if (correlationData !== undefined) rest.correlationData = Buffer.from(correlationData).toString("base64");
  return rest;
}

const doings = {
  connect({ client: name, options, ca, will }) {
    if (ca) options.ca = readFileSync(ca);
    if (will) options.will = { ...will, payload: Buffer.from(will.payload, "base64") };
    const client = mqtt.connect({ ...options, reconnectPeriod: 0 });
    clients.set(name, client);
    client.on("message", (topic, payload, packet) =>
      say({
        client: name,
        topic,
        payload: payload.toString("base64"),
        qos: packet.qos,
        retain: packet.retain,
        properties: inward(packet.properties),
      }),
    );
    return new Promise((resolve, reject) => {
      client.once("connect", (packet) => resolve(packet.sessionPresent));
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed")));
    });
  },
  async subscribe({ client, filter, qos }) {
    const granted = await clients.get(client).subscribeAsync(filter, { qos });
    return granted.map((one) => one.qos);
  },
  async publish({ client, topic, payload, qos, retain, properties }) {
    const options = { qos, retain, properties: outward(properties) };
    await clients.get(client).publishAsync(topic, Buffer.from(payload, "base64"), options);
  },
  drop({ client: name }) {
    const client = clients.get(name);
    clients.delete(name);
    return new Promise((resolve) => {
      client.once("close", () => client.end(true, () => resolve()));
      client.stream.destroy();
    });
  },
  async disconnect({ client: name }) {
    const client = clients.get(name);
    clients.delete(name);
    await client.endAsync();
  },
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const asked = JSON.parse(line);
    try {
      say({ answer: asked.number, result: await doings[asked.do](asked) });
    } catch (error) {
      say({ answer: asked.number, error: String(error) });
    }
  })
  .on("close", () => process.exit(0));
