// The polling board (contract thingsnxt, sections 7 and 8): tells what it measures, asks what is wished, and lets its
// pins follow. One request in each round of the loop.
#pragma once

#include <esp_timer.h>

#include "api.h"

// Milliseconds since the start; unlike millis() it does not begin anew after 49 days.
inline uint64_t now_ms() { return static_cast<uint64_t>(esp_timer_get_time()) / 1000; }

class Poller {
 public:
  struct Counts {
    uint32_t sent = 0, failed = 0, too_many = 0;
    uint64_t last_success_ms = 0;
  };

  void begin() {
    store.load();
    for (const uint8_t pin : OUTPUT_PINS) {
      pinMode(pin, OUTPUT);
      digitalWrite(pin, LOW);
    }
    WiFi.mode(WIFI_STA);
    WiFi.setAutoReconnect(true);
    joined_ms_ = prompt_ms_ = now_ms();
  }

  // Call it often.
  void step() {
    const uint64_t now = now_ms();
    if (!store.provisioned()) return prompt(now);
    if (now - counts_.last_success_ms > RESTART_AFTER_MS) {
      Serial.println("Nothing has worked for a quarter of an hour: restarting");
      ESP.restart();
    }
    if (WiFi.status() != WL_CONNECTED) return join(now);
    if (pace_.due(relevo::Ask::poll, now)) return poll();
    if (pace_.due(relevo::Ask::telemetry, now)) return telemetry();
    if (pace_.due(relevo::Ask::health, now)) health();
  }

  // Begin anew with what was entered.
  void provisioned() {
    pace_ = relevo::Pace();
    counts_.last_success_ms = now_ms();
    joining_ = false;
    WiFi.disconnect();
  }

  const Counts& counts() const { return counts_; }
  uint32_t states() const { return states_; }

  Store store;
  bool debug = false;

 private:
  void prompt(uint64_t now) {
    if (now < prompt_ms_) return;
    prompt_ms_ = now + PROMPT_MS;
    Serial.println("This board is not provisioned: type provision");
  }

  void join(uint64_t now) {
    if (joining_ && now - joined_ms_ < RECONNECT_MS) return;
    joining_ = true;
    joined_ms_ = now;
    WiFi.begin(store.now.wifi_name.c_str(), store.now.wifi_password.c_str());
  }

  void poll() {
    const Reply reply = ask(relevo::Ask::poll, "/telemetry/latest", nullptr);
    if (reply.status == 200) apply(reply.body);
  }

  void telemetry() {
    relevo::Text<64> path;
    path.format("/devices/%s/telemetry", store.now.device_id.c_str());
    relevo::json::Message<1024> body;
    body.begin_object().key("data").begin_object();
    for (int i = 0; i < OUTPUTS; i++) body.member(name(i), static_cast<int>(states_ >> i & 1));
    for (const Sensor& one : SENSORS) body.member(one.key, one.read());
    body.end_object().end_object();
    const relevo::Slice text = body.slice();
    const Reply reply = ask(relevo::Ask::telemetry, path.c_str(), &text);
    // The answer holds what is wished as a poll does.
    if (reply.status == 200) apply(reply.body);
  }

  void health() { ask(relevo::Ask::health, "/health", nullptr); }

  // Let the pins follow; `led` stands for `v0` where that is absent. Only a change writes a pin.
  void apply(relevo::Slice body) {
    static relevo::json::Document<192, 3072> document;
    if (document.parse(body) != relevo::json::Problem::none) return;
    const relevo::json::Value data = document.root()["data"];
    for (int i = 0; i < OUTPUTS; i++) {
      relevo::json::Value wish = data[name(i).c_str()];
      if (i == 0 && !wish.exists()) wish = data["led"];
      bool on = false;
      int64_t number = 0;
      if (!wish.read(on)) {
        if (!wish.read(number) || number < 0 || number > 1) continue;
        on = number == 1;
      }
      if (on == ((states_ >> i & 1) != 0)) continue;
      states_ ^= uint32_t{1} << i;
      digitalWrite(OUTPUT_PINS[i], on ? HIGH : LOW);
    }
  }

  Reply ask(relevo::Ask what, const char* path, const relevo::Slice* body) {
    counts_.sent++;
    const Reply reply = api_.ask(path, body, what != relevo::Ask::health);
    const uint64_t now = now_ms();
    if (debug) Serial.printf("%s %s %d %s\n", body ? "POST" : "GET", path, reply.status, api_.problem());
    if (reply.status == 200) {
      counts_.last_success_ms = now;
      pace_.worked(what, now);
      return reply;
    }
    counts_.failed++;
    if (reply.status == 429) {
      counts_.too_many++;
      pace_.too_many(what, now, reply.retry_after_s);
    } else if (reply.status >= 400 && reply.status < 500) {
      pace_.refused(what, now, esp_random());
    } else {
      pace_.failed(what, now, esp_random());
    }
    return reply;
  }

  static relevo::Text<2> name(int output) {
    relevo::Text<2> text;
    text.format("v%d", output);
    return text;
  }

  Api api_{store};
  relevo::Pace pace_;
  Counts counts_;
  uint32_t states_ = 0;
  uint64_t joined_ms_ = 0, prompt_ms_ = 0;
  bool joining_ = false;
};
