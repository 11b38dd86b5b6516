// Polling board of contract thingsnxt: tells what it measures over HTTP and lets its pins follow what is wished. Board
// "ESP32 Dev Module"; library RelevoCore (beside this folder). README.md tells how to begin.
#include "typed.h"

static Poller poller;
static Typed typed(poller);

void setup() {
  Serial.begin(115200);
  poller.begin();
}

void loop() {
  typed.listen();
  poller.step();
}
