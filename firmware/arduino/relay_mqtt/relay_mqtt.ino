// Relay board of contract autocore: registers itself, fetches its broker settings and lives on MQTT. Board "ESP32 Dev
// Module"; libraries RelevoCore (beside this folder) and MQTT by Joël Gähwiler. README.md tells how to begin.
#include "fixed_names.h"
#include "typed.h"

static Typed typed(board);

void setup() {
  Serial.begin(115200);
  board.begin();
  board.mqtt().onMessageAdvanced(mqtt_callback);
  start_integrated_server();
}

void loop() {
  page.serve_one();
  typed.listen();
  board.step();
}
