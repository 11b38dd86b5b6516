// The water meter: it measures whatever else happens, and tells a broker when there is one.
#pragma once

#include <MQTT.h>
#include <WiFi.h>
#include <esp_timer.h>
#include <time.h>

#include "display.h"
#include "sensor.h"
#include "store.h"

// Milliseconds since the start; unlike millis() it does not begin anew after 49 days.
inline uint64_t now_ms() { return static_cast<uint64_t>(esp_timer_get_time()) / 1000; }

struct Sample {
  double total_l = 0, flow_lmin = 0;
};

class Meter {
 public:
  struct Counts {
    uint32_t told = 0, superseded = 0, obeyed = 0, foreign = 0, refused = 0, connections = 0;
  };

  void begin() {
    store.load(settings, flow);
    readings_.begin(store.boot());
    sensor::begin();
    pinMode(BUTTON_PIN, INPUT_PULLUP);
    pinMode(LED_PIN, OUTPUT);
    digitalWrite(LED_PIN, LOW);
    display_.begin();
    mqtt_.setKeepAlive(KEEP_ALIVE_S);
    mqtt_.setTimeout(SHORT_MS);
    WiFi.mode(WIFI_STA);
    WiFi.setAutoReconnect(true);
    measured_ms_ = saved_ms_ = now_ms();
  }

  // Call it often.
  void step() {
    const uint64_t now = now_ms();
    if (button_.look(digitalRead(BUTTON_PIN) == LOW, now)) toggle_simulation();
    if (now - measured_ms_ >= INTERVAL_MS) measure(now);
    if (keep_ || now - saved_ms_ >= SAVE_MS) {
      keep_ = false;
      saved_ms_ = now;
      store.save(flow);
    }
    store.save(settings);
    speak(now);
  }

  // Handed over by the library, which must not be used meanwhile.
  void hear(relevo::Slice payload) {
    relevo::meter::SerialNumber serial;
    relevo::meter::set_serial(serial, settings.slice("serial"));
    switch (relevo::meter::obey(flow, payload, serial)) {
      case relevo::meter::Done::refused:
        counts_.refused++;
        return;
      case relevo::meter::Done::foreign:
        counts_.foreign++;
        return;
      case relevo::meter::Done::keep:
        keep_ = true;
        break;
      case relevo::meter::Done::nothing_to_keep:
        break;
    }
    counts_.obeyed++;
  }

  void settings_changed() {
    drop();
    joining_ = false;
    due_ms_ = 0;
  }

  bool online() const { return online_; }
  const Counts& counts() const { return counts_; }
  size_t waiting() const { return readings_.size(); }
  uint32_t dropped() const { return readings_.dropped(); }
  MQTTClient& mqtt() { return mqtt_; }

  MeterSettings settings{FIELDS};
  Store store;
  relevo::Flow flow;

 private:
  void toggle_simulation() {
    if (flow.simulating()) flow.stop_simulating();
    else flow.simulate(relevo::Flow::SIMULATED_LMIN);
  }

  void measure(uint64_t now) {
    flow.take(sensor::take(), static_cast<uint32_t>(now - measured_ms_));
    measured_ms_ = now;
    digitalWrite(LED_PIN, flow.flow_lmin() > 0 ? HIGH : LOW);
    display_.show(flow.flow_lmin(), flow.total_l());
    if (!online_ && kept_ms_ && now - kept_ms_ < AWAY_INTERVAL_MS) return;
    kept_ms_ = now;
    Sample sample;
    sample.total_l = flow.total_l();
    sample.flow_lmin = flow.flow_lmin();
    readings_.push(sample, now);
  }

  // One thing over the network each time, none longer than a second.
  void speak(uint64_t now) {
    if (online_ && (WiFi.status() != WL_CONNECTED || !mqtt_.loop() || !mqtt_.connected())) return broken();
    if (online_) return tell_next(now);
    if (now < due_ms_) return;
    if (settings.slice("wifi_ssid").empty() || settings.slice("broker").empty()) {
      if (now < prompt_ms_) return;
      prompt_ms_ = now + PROMPT_MS;
      Serial.println("Not set up yet: type `wifi NAME PASSWORD`, `set broker ADDRESS` and `set serial NUMBER`");
    } else if (WiFi.status() != WL_CONNECTED) {
      if (joining_ && now - joined_ms_ < JOIN_MS) return;
      joining_ = true;
      joined_ms_ = now;
      WiFi.disconnect();
      WiFi.begin(settings.get("wifi_ssid"), settings.get("wifi_password"));
      if (settings.slice("time_server") != relevo::Slice("none")) configTime(0, 0, settings.get("time_server"));
    } else if (connect()) {
      backoff_.succeeded();
      counts_.connections++;
      online_ = true;
      Serial.println("MQTT: connected");
    } else {
      drop();
      due_ms_ = now + backoff_.next(esp_random());
    }
  }

  bool connect() {
    const uint16_t port = static_cast<uint16_t>(settings.number("port"));
    // The socket by itself: the library would wait for it as long as the network likes.
    if (!socket_.connect(settings.get("broker"), port, SHORT_MS)) return false;
    mqtt_.begin(settings.get("broker"), port, socket_);
    relevo::Text<32> name;
    const uint64_t chip = ESP.getEfuseMac();
    name.format("hidrometro-%04lx%08lx", static_cast<unsigned long>(chip >> 32 & 0xFFFF),
                static_cast<unsigned long>(chip & 0xFFFFFFFF));
    const bool named = !settings.slice("username").empty();
    return mqtt_.connect(name.c_str(), named ? settings.get("username") : nullptr,
                         named ? settings.get("password") : nullptr, true) &&
           mqtt_.subscribe(settings.get("topic_cmd"), 1);
  }

  // A reading leaves the box when the broker has it. Without a clock the server takes readings as of now, so only the
  // newest means something; the total loses nothing by that.
  void tell_next(uint64_t now) {
    const auto* reading = readings_.front();
    if (!reading) return;
    const uint32_t number = reading->seq;
    const long long unix_s = static_cast<long long>(time(nullptr));
    const bool dated = unix_s > YEAR_2024;
    if (!dated && readings_.size() > 1) {
      counts_.superseded++;
      readings_.acknowledge(number);
      return;
    }
    relevo::meter::SerialNumber serial;
    relevo::meter::set_serial(serial, settings.slice("serial"));
    relevo::json::Message<256> text;
    relevo::meter::reading(text, reading->value.total_l, reading->value.flow_lmin, serial,
                           dated ? unix_s - static_cast<long long>(reading->age_ms(now) / 1000) : 0);
    // Never retained: a reading is of its moment.
    if (!text.ok() ||
        !mqtt_.publish(settings.get("topic_dados"), text.c_str(), static_cast<int>(text.size()), false, 1))
      return broken();
    readings_.acknowledge(number);
    counts_.told++;
  }

  void broken() {
    Serial.println("MQTT: the connection is gone");
    drop();
    due_ms_ = now_ms() + backoff_.next(esp_random());
  }

  void drop() {
    online_ = false;
    mqtt_.disconnect();
    socket_.stop();
  }

  WiFiClient socket_;
  MQTTClient mqtt_{640, 256};
  relevo::Outbox<Sample, KEPT> readings_;
  relevo::Backoff backoff_;
  relevo::Button button_;
  Display display_;
  Counts counts_;
  uint64_t measured_ms_ = 0, saved_ms_ = 0, kept_ms_ = 0, due_ms_ = 0, prompt_ms_ = 0, joined_ms_ = 0;
  bool online_ = false, joining_ = false, keep_ = false;
};
