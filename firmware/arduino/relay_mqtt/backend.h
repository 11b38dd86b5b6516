// The backend over HTTP (contract autocore, section 3.1): registration and broker settings. Whatever goes wrong, what
// is stored stays.
#pragma once

#include <HTTPClient.h>
#include <WiFi.h>
#include <esp_timer.h>

#include "store.h"

// Milliseconds since the start; unlike millis() it does not begin anew after 49 days.
inline uint64_t now_ms() { return static_cast<uint64_t>(esp_timer_get_time()) / 1000; }

struct Answer {
  // 0 when there was none.
  int status = 0;
  // Good until the next request.
  relevo::Slice body;
};

class Backend {
 public:
  explicit Backend(BoardSettings& settings) : settings_(settings) {}

  // `body` null asks with GET; `timeout_ms` is for the connection and again for the answer.
  Answer request(const char* url, const relevo::Slice* body, int timeout_ms) {
    static char room[ANSWER_BYTES];
    Answer answer;
    WiFiClient client;
    HTTPClient http;
    http.setConnectTimeout(timeout_ms);
    http.setTimeout(static_cast<uint16_t>(timeout_ms));
    http.setReuse(false);
    if (!http.begin(client, url)) return answer;
    relevo::Text<160> bearer;
    if (!settings_.slice("device_token").empty() && bearer.format("Bearer %s", settings_.get("device_token")))
      http.addHeader("Authorization", bearer.c_str());
    if (body) http.addHeader("Content-Type", "application/json");
    const int status =
        body ? http.POST(reinterpret_cast<uint8_t*>(const_cast<char*>(body->data)), body->size) : http.GET();
    const int size = http.getSize();
    if (status > 0 && size >= 0 && static_cast<size_t>(size) <= sizeof room) {
      answer.status = status;
      answer.body =
          relevo::Slice(room, http.getStream().readBytes(reinterpret_cast<uint8_t*>(room), static_cast<size_t>(size)));
      // Half an answer is none.
      if (answer.body.size != static_cast<size_t>(size)) answer = Answer();
    }
    http.end();
    return answer;
  }

  // 1, 0, or -1 when the backend does not say.
  int look_up(int timeout_ms) {
    relevo::Text<64> path;
    path.format("/api/devices/uuid/%s", settings_.get("device_uuid"));
    const Answer answer = ask(path.c_str(), nullptr, timeout_ms);
    if (answer.status != 200 && answer.status != 404) return -1;
    settings_.put("backend_registered", answer.status == 200);
    return answer.status == 200;
  }

  bool enrol(const relevo::autocore::Identity& who, int timeout_ms) {
    relevo::json::Message<512> body;
    relevo::autocore::describe(body, who, false);
    if (!body.ok()) return false;
    const relevo::Slice text = body.slice();
    const Answer answer = ask("/api/devices", &text, timeout_ms);
    if (answer.status != 200 && answer.status != 201 && answer.status != 409) return false;
    settings_.put("backend_registered", true);
    relevo::json::Document<48, 1024> document;
    relevo::Slice token;
    if (document.parse(answer.body) == relevo::json::Problem::none && document.root()["device_token"].read(token))
      settings_.put("device_token", token);
    return true;
  }

  // Whether broker settings were fetched, now or within five minutes.
  bool fetch_broker(int timeout_ms) {
    if (fetched_ && now_ms() - fetched_ms_ < CACHE_MS) return true;
    const Answer answer = ask("/api/mqtt/config", nullptr, timeout_ms);
    relevo::autocore::Broker found;
    if (answer.status != 200 || !relevo::autocore::read_broker(answer.body, found)) return false;
    settings_.put("mqtt_broker", found.host.slice());
    settings_.put("mqtt_port", found.port);
    settings_.put("mqtt_username", found.username.slice());
    settings_.put("mqtt_password", found.password.slice());
    settings_.put("mqtt_topic_prefix", found.prefix.slice());
    fetched_ = true;
    fetched_ms_ = now_ms();
    settings_.put("last_mqtt_config_check", static_cast<long>(fetched_ms_ / 1000));
    return true;
  }
  // The next time it asks again, however soon that is.
  void forget_broker() { fetched_ = false; }

 private:
  static constexpr size_t ANSWER_BYTES = 2048;

  Answer ask(const char* path, const relevo::Slice* body, int timeout_ms) {
    relevo::Text<192> url;
    if (settings_.slice("backend_ip").empty() ||
        !url.format("http://%s:%ld%s", settings_.get("backend_ip"), settings_.number("backend_port"), path))
      return Answer();
    return request(url.c_str(), body, timeout_ms);
  }

  BoardSettings& settings_;
  bool fetched_ = false;
  uint64_t fetched_ms_ = 0;
};
