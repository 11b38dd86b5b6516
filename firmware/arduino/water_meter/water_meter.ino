// Water meter of contract hidrometro: counts the pulses of a YF-S201 and tells a broker litres and flow. Board "ESP32
// Dev Module"; libraries RelevoCore (beside this folder) and MQTT by Joël Gähwiler. README.md tells how to begin.
#include "typed.h"

static Meter meter;
static Typed typed(meter);

static void heard(MQTTClient*, char*, char bytes[], int length) {
  meter.hear(relevo::Slice(bytes, static_cast<size_t>(length)));
}

void setup() {
  Serial.begin(115200);
  meter.begin();
  meter.mqtt().onMessageAdvanced(heard);
}

void loop() {
  typed.listen();
  meter.step();
}
