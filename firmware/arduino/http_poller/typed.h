// What people type into the serial console of the polling board.
#pragma once

#include "poller.h"

class Typed final : public relevo::ProvisionHost {
 public:
  explicit Typed(Poller& poller) : poller_(poller) {}

  void listen() {
    while (Serial.available())
      if (reader_.feed(static_cast<char>(Serial.read()))) console_.line(reader_.line());
  }

  void say(const char* line) override { Serial.println(line); }

  bool store(const relevo::Provision& answers) override {
    const bool kept = poller_.store.keep(answers);
    poller_.provisioned();
    return kept;
  }

  void status() override {
    const relevo::Provision& now = poller_.store.now;
    Serial.printf("device_id: %s\ndevice_token: %s\n", now.device_id.c_str(), relevo::masked(now.device_token).c_str());
    Serial.printf("api_url: %s\nnetwork: %s, %s\n", now.api_url.c_str(), now.wifi_name.c_str(),
                  WiFi.status() == WL_CONNECTED ? "joined" : "not joined");
    Serial.printf("outputs: %lu\n", static_cast<unsigned long>(poller_.states()));
  }

  void stats() override {
    const Poller::Counts& counts = poller_.counts();
    Serial.printf("requests: %lu, failed %lu, too many %lu\n", static_cast<unsigned long>(counts.sent),
                  static_cast<unsigned long>(counts.failed), static_cast<unsigned long>(counts.too_many));
    Serial.printf("uptime: %lu s, last success: %lu s\n", static_cast<unsigned long>(now_ms() / 1000),
                  static_cast<unsigned long>(counts.last_success_ms / 1000));
    Serial.printf("memory: %lu, lowest %lu; signal: %d dBm\n", static_cast<unsigned long>(ESP.getFreeHeap()),
                  static_cast<unsigned long>(ESP.getMinFreeHeap()), static_cast<int>(WiFi.RSSI()));
  }

  void debug(bool on) override {
    poller_.debug = on;
    Serial.println(on ? "debug on" : "debug off");
  }
  void reset() override {
    poller_.store.forget();
    Serial.println("Everything is forgotten.");
    ESP.restart();
  }

 private:
  Poller& poller_;
  relevo::LineReader<256> reader_;
  relevo::ProvisionConsole console_{*this};
};
