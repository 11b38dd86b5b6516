// MQTT 3.1.1 with the interface of 256dpi's library MQTT (lwmqtt), as far as the sketches use it, over a real socket.
// As there: a publish with QoS 1 is true when it was acknowledged, and nothing may be sent while a message is handed
// over.
#pragma once

#include <deque>

#include "WiFiClient.h"

enum lwmqtt_return_code_t {
  LWMQTT_CONNECTION_ACCEPTED = 0,
  LWMQTT_UNACCEPTABLE_PROTOCOL = 1,
  LWMQTT_IDENTIFIER_REJECTED = 2,
  LWMQTT_SERVER_UNAVAILABLE = 3,
  LWMQTT_BAD_USERNAME_OR_PASSWORD = 4,
  LWMQTT_NOT_AUTHORIZED = 5,
  LWMQTT_UNKNOWN_RETURN_CODE = 6
};

class MQTTClient;
using MQTTClientCallbackAdvanced = void (*)(MQTTClient* client, char topic[], char bytes[], int length);

class MQTTClient {
 public:
  explicit MQTTClient(int read_size = 128, int write_size = 128)
      : read_most_(static_cast<size_t>(read_size)), write_most_(static_cast<size_t>(write_size)) {}

  void begin(const char* host, int port, Client& client) {
    host_ = host;
    port_ = static_cast<uint16_t>(port);
    client_ = &client;
  }
  void onMessageAdvanced(MQTTClientCallbackAdvanced callback) { callback_ = callback; }
  void setWill(const char* topic, const char* payload, bool retained, int qos) {
    will_topic_ = topic;
    will_ = payload;
    will_flags_ = static_cast<uint8_t>(0x04 | qos << 3 | (retained ? 0x20 : 0));
  }
  void setKeepAlive(int seconds) { keep_alive_s_ = seconds; }
  void setCleanSession(bool clean) { clean_ = clean; }
  void setTimeout(int ms) { timeout_ms_ = ms; }

  bool connect(const char* id, const char* user, const char* password, bool skip = false) {
    if (!skip && !client_->connect(host_.c_str(), port_)) return false;
    code_ = LWMQTT_UNKNOWN_RETURN_CODE;
    open_ = false;
    input_.clear();
    std::string body = text("MQTT") + '\x04';
    body += static_cast<char>((clean_ ? 2 : 0) | (will_topic_.empty() ? 0 : will_flags_) | (user ? 0x80 : 0) |
                              (user && password ? 0x40 : 0));
    body += number(static_cast<uint16_t>(keep_alive_s_)) + text(id);
    if (!will_topic_.empty()) body += text(will_topic_) + text(will_);
    if (user) body += text(user);
    if (user && password) body += text(password);
    if (!send(0x10, body)) return false;
    if (!wait(0x20, 0)) return close();
    code_ = static_cast<lwmqtt_return_code_t>(static_cast<uint8_t>(acknowledged_[1]));
    if (code_ != LWMQTT_CONNECTION_ACCEPTED) return close();
    open_ = true;
    sent_us_ = shim::now_us();
    return true;
  }
  bool publish(const char* topic, const char* payload, int length, bool retained, int qos) {
    forbid_inside_callback("publish");
    if (!open_ || strlen(topic) + 9 > write_most_) return false;
    const uint16_t id = qos ? next() : 0;
    std::string body = text(topic) + (qos ? number(id) : "") + std::string(payload, static_cast<size_t>(length));
    if (!send(static_cast<uint8_t>(0x30 | qos << 1 | (retained ? 1 : 0)), body)) return close();
    return !qos || wait(0x40, id) || close();
  }
  bool subscribe(const char* topic, int qos) {
    forbid_inside_callback("subscribe");
    const uint16_t id = next();
    if (!open_ || !send(0x82, number(id) + text(topic) + static_cast<char>(qos)) || !wait(0x90, id)) return close();
    return static_cast<uint8_t>(acknowledged_[2]) <= 2;
  }
  bool loop() {
    if (!open_) return false;
    if (!take(0) || (keep_alive_s_ && shim::now_us() - sent_us_ >= static_cast<uint64_t>(keep_alive_s_) * 1000000 &&
                     !send(0xC0, "")))
      return close();
    return open_;
  }
  bool connected() { return open_ && client_->connected(); }
  bool disconnect() {
    if (open_) send(0xE0, "");
    close();
    return true;
  }
  lwmqtt_return_code_t returnCode() { return code_; }

 private:
  static std::string number(uint16_t value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 255)}; }
  static std::string text(const std::string& value) { return number(static_cast<uint16_t>(value.size())) + value; }
  uint16_t next() { return ++id_ ? id_ : ++id_; }
  bool close() {
    open_ = false;
    if (client_) client_->stop();
    return false;
  }
  void forbid_inside_callback(const char* what) {
    if (!inside_) return;
    shim::tell("fault %s while a message is handed over", what);
    abort();
  }
  bool send(uint8_t head, const std::string& body) {
    std::string packet(1, static_cast<char>(head));
    size_t left = body.size();
    do {
      packet += static_cast<char>((left & 127) | (left > 127 ? 128 : 0));
      left >>= 7;
    } while (left);
    packet += body;
    sent_us_ = shim::now_us();
    return client_->write(reinterpret_cast<const uint8_t*>(packet.data()), packet.size()) == packet.size();
  }
  // Until that acknowledgement, handing over what comes meanwhile.
  bool wait(uint8_t kind, uint16_t id) {
    wanted_ = kind;
    wanted_id_ = id;
    acknowledged_.clear();
    const uint64_t end = shim::real_ms() + static_cast<uint64_t>(timeout_ms_);
    while (acknowledged_.empty()) {
      const uint64_t now = shim::real_ms();
      if (now >= end || !take(1)) break;
    }
    wanted_ = 0;
    return !acknowledged_.empty();
  }
  // What is there now, or within `patience` milliseconds; false when the connection ended or speaks nonsense.
  bool take(int patience) {
    for (int i = 0; i < patience && !client_->available() && client_->connected(); i++) usleep(1000);
    uint8_t bytes[1024];
    while (client_->available()) {
      const int count = client_->read(bytes, sizeof bytes);
      if (count > 0) input_.append(reinterpret_cast<char*>(bytes), static_cast<size_t>(count));
    }
    for (;;) {
      size_t size = 0, at = 1;
      bool whole = false;
      for (int shift = 0; at < input_.size() && shift <= 21; shift += 7) {
        const uint8_t one = static_cast<uint8_t>(input_[at++]);
        size |= static_cast<size_t>(one & 127) << shift;
        if (!(one & 128)) {
          whole = true;
          break;
        }
      }
      if (!whole || input_.size() < at + size) break;
      const uint8_t head = static_cast<uint8_t>(input_[0]);
      const std::string body = input_.substr(at, size);
      input_.erase(0, at + size);
      if (size + at > read_most_ || !handle(head, body)) return false;
    }
    return client_->connected();
  }
  bool handle(uint8_t head, const std::string& body) {
    const auto pair = [&](size_t at) {
      return static_cast<uint16_t>(static_cast<uint8_t>(body[at]) << 8 | static_cast<uint8_t>(body[at + 1]));
    };
    if ((head & 0xF0) != 0x30) {
      if (head == wanted_ && body.size() >= 2 && (head == 0x20 || pair(0) == wanted_id_)) acknowledged_ = body;
      return true;
    }
    if (body.size() < 2 || body.size() < 2u + pair(0)) return false;
    std::string topic = body.substr(2, pair(0));
    size_t at = 2 + topic.size();
    const int qos = head >> 1 & 3;
    const uint16_t id = qos ? pair(at) : 0;
    if (qos) at += 2;
    // Exactly as long as it is, on the heap: who looks further is found.
    char* payload = new char[body.size() - at];
    memcpy(payload, body.data() + at, body.size() - at);
    inside_ = true;
    if (callback_) callback_(this, topic.data(), payload, static_cast<int>(body.size() - at));
    inside_ = false;
    delete[] payload;
    return !qos || send(0x40, number(id));
  }

  std::string host_, will_topic_, will_, input_, acknowledged_;
  Client* client_ = nullptr;
  MQTTClientCallbackAdvanced callback_ = nullptr;
  lwmqtt_return_code_t code_ = LWMQTT_UNKNOWN_RETURN_CODE;
  size_t read_most_, write_most_;
  uint64_t sent_us_ = 0;
  int keep_alive_s_ = 10, timeout_ms_ = 1000;
  uint16_t port_ = 1883, id_ = 0, wanted_id_ = 0;
  uint8_t will_flags_ = 0, wanted_ = 0;
  bool clean_ = true, open_ = false, inside_ = false;
};
