// What people type into the serial console of the relay board.
#pragma once

#include "board.h"

class Typed final : public relevo::ConsoleHost {
 public:
  explicit Typed(Board& told) : board_(told) {}

  void listen() {
    while (Serial.available())
      if (reader_.feed(static_cast<char>(Serial.read()))) console_.line(reader_.line());
  }

  void say(const char* line) override { Serial.println(line); }

  const char* set(relevo::Slice name, relevo::Slice value) override {
    if (!editable(name)) return "No setting that can be changed; show lists them";
    if (!board_.settings.put(name, value)) return "It cannot have that value";
    board_.settings_changed();
    return nullptr;
  }

  void show() override {
    for (size_t i = 0; i < board_.settings.count(); i++) {
      const relevo::Field& field = board_.settings.field(i);
      const bool secret = field.kind == relevo::FieldKind::secret;
      const relevo::Text<relevo::VALUE_MOST>& value = board_.settings.value(i);
      Serial.printf("%s: %s\n", field.name, secret ? (value.empty() ? "(none)" : "***") : value.c_str());
    }
  }

  void status() override {
    Serial.printf("state: %s\n", name_of(board_.state()));
    Serial.printf("network: %s\n", WiFi.status() == WL_CONNECTED ? "joined" : "none");
    Serial.printf("registered: %s\n", board_.settings.get("backend_registered"));
    Serial.printf("reset cause: %d, start %lu\n", static_cast<int>(esp_reset_reason()),
                  static_cast<unsigned long>(board_.store.boot()));
  }

  void stats() override {
    const Board::Counts& counts = board_.counts();
    Serial.printf("commands: %lu, replayed %lu, refused %lu\n", static_cast<unsigned long>(counts.commands),
                  static_cast<unsigned long>(counts.replayed), static_cast<unsigned long>(counts.refused));
    Serial.printf("connections: %lu, failures %lu\n", static_cast<unsigned long>(counts.connections),
                  static_cast<unsigned long>(counts.failures));
    Serial.printf("answers waiting: %u, lost %lu\n", static_cast<unsigned>(board_.waiting()),
                  static_cast<unsigned long>(board_.dropped()));
    Serial.printf("memory: %lu, lowest %lu\n", static_cast<unsigned long>(ESP.getFreeHeap()),
                  static_cast<unsigned long>(ESP.getMinFreeHeap()));
  }

  void debug(bool on) override { board_.debug = on; }
  void restart() override {
    board_.store.save(board_.settings);
    ESP.restart();
  }
  void forget() override {
    board_.store.forget();
    ESP.restart();
  }

 private:
  Board& board_;
  relevo::LineReader<256> reader_;
  relevo::SettingsConsole console_{*this};
};
