// What people type into the serial console of the meter.
#pragma once

#include "meter.h"

class Typed final : public relevo::ConsoleHost {
 public:
  explicit Typed(Meter& meter) : meter_(meter) {}

  void listen() {
    while (Serial.available())
      if (reader_.feed(static_cast<char>(Serial.read()))) console_.line(reader_.line());
  }

  void say(const char* line) override { Serial.println(line); }

  const char* set(relevo::Slice name, relevo::Slice value) override {
    if (!meter_.settings.known(name)) return "No such setting; show lists them";
    const bool topic = name == relevo::Slice("topic_dados") || name == relevo::Slice("topic_cmd");
    if ((topic && !relevo::valid_topic(value)) || !meter_.settings.put(name, value)) return "It cannot have that value";
    meter_.settings_changed();
    return nullptr;
  }

  void show() override {
    for (size_t i = 0; i < meter_.settings.count(); i++) {
      const relevo::Field& field = meter_.settings.field(i);
      const bool secret = field.kind == relevo::FieldKind::secret;
      const relevo::Text<relevo::VALUE_MOST>& value = meter_.settings.value(i);
      Serial.printf("%s: %s\n", field.name, secret ? (value.empty() ? "(none)" : "***") : value.c_str());
    }
    Serial.printf("calibration: %g\n", meter_.flow.factor());
  }

  void status() override {
    Serial.printf("total: %.4f L, flow: %.3f L/min%s\n", meter_.flow.total_l(), meter_.flow.flow_lmin(),
                  meter_.flow.simulating() ? " (simulated)" : "");
    Serial.printf("network: %s, broker: %s\n", WiFi.status() == WL_CONNECTED ? "joined" : "none",
                  meter_.online() ? "connected" : "none");
  }

  void stats() override {
    const Meter::Counts& counts = meter_.counts();
    Serial.printf("readings told: %lu, superseded %lu, waiting %u, lost %lu\n", static_cast<unsigned long>(counts.told),
                  static_cast<unsigned long>(counts.superseded), static_cast<unsigned>(meter_.waiting()),
                  static_cast<unsigned long>(meter_.dropped()));
    Serial.printf("commands obeyed: %lu, for others %lu, refused %lu\n", static_cast<unsigned long>(counts.obeyed),
                  static_cast<unsigned long>(counts.foreign), static_cast<unsigned long>(counts.refused));
    Serial.printf("connections: %lu, memory: %lu\n", static_cast<unsigned long>(counts.connections),
                  static_cast<unsigned long>(ESP.getFreeHeap()));
  }

  void debug(bool on) override { Serial.println(on ? "There is nothing more to tell; see stats" : "off"); }
  void restart() override {
    meter_.store.save(meter_.settings);
    meter_.store.save(meter_.flow);
    ESP.restart();
  }
  void forget() override {
    meter_.store.forget();
    ESP.restart();
  }

 private:
  Meter& meter_;
  relevo::LineReader<256> reader_;
  relevo::SettingsConsole console_{*this};
};
