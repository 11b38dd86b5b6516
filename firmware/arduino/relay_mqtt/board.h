// The relay board: its states, its life on MQTT, and its relays, which work in every state.
//
//     provision -> wifi -> registration -> config -> mqtt -> online
//                                                      \-> refused (wrong credentials: settings are fetched anew)
//
// One thing over the network in each round of the loop, none longer than a second.
#pragma once

#include <MQTT.h>
#include <esp_system.h>

#include "backend.h"

enum class State : uint8_t { provision, wifi, registration, config, mqtt, refused, online };

inline const char* name_of(State state) {
  static const char* const names[] = {"provision", "wifi", "registration", "config", "mqtt", "refused", "online"};
  return names[static_cast<uint8_t>(state)];
}

struct RelayPins {
  void operator()(int channel, bool on) const { digitalWrite(RELAY_PINS[channel - 1], on != ACTIVE_LOW ? HIGH : LOW); }
};

class Board {
 public:
  struct Counts {
    uint32_t commands = 0, replayed = 0, refused = 0, connections = 0, failures = 0;
  };

  void begin() {
    store.load(settings, ledger_);
    uint8_t mac[6] = {0};
    WiFi.macAddress(mac);
    mac_ = relevo::mac_text(mac);
    relevo::Text<32> made;
    if (!relevo::valid_uuid(settings.slice("device_uuid"))) settings.put("device_uuid", relevo::uuid_of(mac).slice());
    if (settings.slice("device_id").empty() && made.format("esp32_relay_%02x%02x%02x", mac[3], mac[4], mac[5]))
      settings.put("device_id", made.slice());
    if (settings.slice("device_name").empty() && made.format("ESP32 Relay %02x%02x%02x", mac[3], mac[4], mac[5]))
      settings.put("device_name", made.slice());
    if (settings.slice("page_password").empty() &&
        made.format("%08lx%08lx", static_cast<unsigned long>(esp_random()), static_cast<unsigned long>(esp_random())))
      settings.put("page_password", made.slice());
    store.save(settings);
    const size_t channels = static_cast<size_t>(settings.number("relay_channels"));
    for (size_t i = 0; i < channels; i++) pinMode(RELAY_PINS[i], OUTPUT);
    relays.begin(channels, RELAY_KINDS, PULSE_MS);
    answers_.begin(store.boot());
    mqtt_.setKeepAlive(2 * HEARTBEAT_MS / 1000);
    mqtt_.setTimeout(SHORT_MS);
    WiFi.mode(WIFI_STA);
    WiFi.setAutoReconnect(true);
  }

  // Call it often.
  void step() {
    const uint64_t now = now_ms();
    if (relays.step(now)) status_due_ms_ = now;
    store.save(settings);
    if (state_ != State::provision && state_ != State::wifi && WiFi.status() != WL_CONNECTED) {
      lost("the network is gone");
      enter(State::wifi);
      joined_ms_ = now;
    }
    if (now < due_ms_) return;
    switch (state_) {
      case State::provision:
        return provision(now);
      case State::wifi:
        return join(now);
      case State::registration:
        return enrol(now);
      case State::config:
        fetch();
        return enter(State::mqtt);
      case State::refused:
        backend.forget_broker();
        return enter(State::config);
      case State::mqtt:
        return connect(now);
      case State::online:
        return live(now);
    }
  }

  // Whether broker, WiFi or backend were told anew.
  void settings_changed() {
    if (state_ == State::provision || state_ == State::wifi) return;
    lost("settings changed");
    backend.forget_broker();
    enter(State::registration);
  }

  bool look_up(int timeout_ms) { return backend.look_up(timeout_ms) == 1; }
  bool enrol_now(int timeout_ms) { return backend.enrol(identity(), timeout_ms); }

  bool connect_mqtt(int timeout_ms) {
    refused_ = false;
    if (settings.slice("mqtt_broker").empty()) return false;
    const uint16_t port = static_cast<uint16_t>(settings.number("mqtt_port"));
    // The socket by itself: the library would wait for it as long as the network likes.
    if (!socket_.connect(settings.get("mqtt_broker"), port, timeout_ms)) return false;
    mqtt_.begin(settings.get("mqtt_broker"), port, socket_);
    relevo::json::Message<160> will;
    relevo::autocore::last_will(will, settings.slice("device_uuid"));
    const relevo::Topic status = topic("status");
    mqtt_.setWill(status.c_str(), will.c_str(), true, 1);
    const bool named = !settings.slice("mqtt_username").empty();
    if (!mqtt_.connect(settings.get("device_uuid"), named ? settings.get("mqtt_username") : nullptr,
                       named ? settings.get("mqtt_password") : nullptr, true)) {
      refused_ = mqtt_.returnCode() == LWMQTT_BAD_USERNAME_OR_PASSWORD || mqtt_.returnCode() == LWMQTT_NOT_AUTHORIZED;
      return false;
    }
    relevo::json::Message<512> announcement;
    relevo::autocore::describe(announcement, identity(), true);
    if (!mqtt_.subscribe(topic("command").c_str(), 1) || !publish("announce", announcement.slice(), true)) return false;
    // Only boards with momentary relays need it; a broker may refuse it.
    mqtt_.subscribe(topic("relays/heartbeat").c_str(), 0);
    settings.put("mqtt_connected", true);
    return update_status();
  }

  bool update_status() {
    status_due_ms_ = now_ms() + HEARTBEAT_MS;
    relevo::json::Message<640> status;
    relevo::autocore::status(status, identity(), condition());
    // Kept by the broker, so that it takes the place of the last will.
    return status.ok() && publish("status", status.slice(), true);
  }

  // Handed over by the library, which must not be used meanwhile: relays move, answers wait in their box.
  void hear(relevo::Slice name, relevo::Slice payload) {
    if (name == topic("relays/heartbeat").slice())
      return relays.held(relevo::autocore::held_channel(payload, static_cast<int>(relays.count())), now_ms());
    if (name == topic("command").slice()) obey(payload);
  }

  relevo::autocore::Identity identity() {
    ip_.assign(relevo::Slice(WiFi.localIP().toString().c_str()));
    relevo::autocore::Identity who;
    who.uuid = settings.slice("device_uuid");
    who.device_id = settings.slice("device_id");
    who.name = settings.slice("device_name");
    who.mac = mac_.slice();
    who.ip = ip_.slice();
    who.firmware = FIRMWARE;
    who.channels = static_cast<int>(relays.count());
    return who;
  }

  relevo::autocore::Condition condition() {
    relevo::autocore::Condition now;
    now.uptime_s = static_cast<long>(now_ms() / 1000);
    now.rssi_dbm = WiFi.RSSI();
    now.free_bytes = ESP.getFreeHeap();
    now.relays = relays.states();
    return now;
  }

  State state() const { return state_; }
  const Counts& counts() const { return counts_; }
  size_t waiting() const { return answers_.size(); }
  uint32_t dropped() const { return answers_.dropped(); }
  MQTTClient& mqtt() { return mqtt_; }

  BoardSettings settings{FIELDS};
  Store store;
  Backend backend{settings};
  relevo::Relays<RELAYS, RelayPins> relays{RelayPins()};
  bool debug = false;

 private:
  relevo::Topic topic(const char* channel) {
    return relevo::device_topic(settings.slice("mqtt_topic_prefix"), settings.slice("device_uuid"), channel);
  }

  bool publish(const char* channel, relevo::Slice body, bool retain) {
    return mqtt_.publish(topic(channel).c_str(), body.data, static_cast<int>(body.size), retain, 1);
  }

  void enter(State state, uint32_t wait_ms = 0) {
    if (debug && state != state_) Serial.printf("state %s\n", name_of(state));
    state_ = state;
    due_ms_ = now_ms() + wait_ms;
  }

  void lost(const char* why) {
    if (state_ == State::online) Serial.printf("MQTT: %s\n", why);
    mqtt_.disconnect();
    socket_.stop();
    settings.put("mqtt_connected", false);
  }

  void provision(uint64_t now) {
    if (!settings.slice("wifi_ssid").empty()) {
      if (point_) WiFi.softAPdisconnect(true);
      point_ = false;
      enter(State::wifi);
      joined_ms_ = now;
      WiFi.mode(WIFI_STA);
      WiFi.begin(settings.get("wifi_ssid"), settings.get("wifi_password"));
      return;
    }
    if (!point_) {
      const relevo::Slice uuid = settings.slice("device_uuid");
      relevo::Text<32> name;
      name.format("ESP32-Relay-%s", uuid.data + (uuid.size > 6 ? uuid.size - 6 : 0));
      WiFi.mode(WIFI_AP_STA);
      WiFi.softAP(name.c_str(), settings.get("page_password"));
      point_ = true;
    }
    if (now >= prompt_ms_) {
      prompt_ms_ = now + PROMPT_MS;
      Serial.printf(
          "No network yet: type `wifi NAME PASSWORD` and `set backend_ip ADDRESS`, or join the access point\n");
      Serial.printf("of this board and open http://192.168.4.1 (user admin, both passwords %s)\n",
                    settings.get("page_password"));
    }
  }

  void join(uint64_t now) {
    if (WiFi.status() == WL_CONNECTED) {
      backoff_.succeeded();
      settings.put("configured", true);
      return enter(State::registration);
    }
    if (now - joined_ms_ < JOIN_MS) return;
    joined_ms_ = now + backoff_.next(esp_random());
    due_ms_ = joined_ms_;
    WiFi.disconnect();
    WiFi.begin(settings.get("wifi_ssid"), settings.get("wifi_password"));
  }

  // Looking up in one round, registering in the next; nothing of it has to work.
  void enrol(uint64_t now) {
    register_due_ms_ = now + REGISTER_AGAIN_MS;
    if (unknown_) {
      unknown_ = false;
      if (!enrol_now(SHORT_MS) && debug) Serial.printf("not registered: is pairing open?\n");
      return enter(State::config);
    }
    unknown_ = backend.look_up(SHORT_MS) == 0;
    if (!unknown_) enter(State::config);
  }

  void fetch() {
    if (!backend.fetch_broker(SHORT_MS) && debug) Serial.printf("no broker settings from the backend\n");
  }

  void connect(uint64_t now) {
    if (connect_mqtt(SHORT_MS)) {
      backoff_.succeeded();
      counts_.connections++;
      return enter(State::online);
    }
    counts_.failures++;
    mqtt_.disconnect();
    socket_.stop();
    settings.put("mqtt_connected", false);
    if (refused_) {
      Serial.printf("MQTT: credentials refused\n");
      return enter(State::refused, REFUSED_MS);
    }
    register_due_ms_ = now;
    enter(settings.flag("backend_registered") ? State::config : State::registration, backoff_.next(esp_random()));
  }

  void live(uint64_t now) {
    if (!mqtt_.loop() || !mqtt_.connected()) return broken();
    if (const auto* answer = answers_.front()) {
      const uint32_t number = answer->seq;
      if (!publish("response", answer->value.slice(), false)) return broken();
      answers_.acknowledge(number);
      return;
    }
    if (now >= status_due_ms_) {
      if (!update_status()) return broken();
      return;
    }
    if (!settings.flag("backend_registered") && now >= register_due_ms_) {
      register_due_ms_ = now + REGISTER_AGAIN_MS;
      if (unknown_) unknown_ = !enrol_now(SHORT_MS);
      else unknown_ = backend.look_up(SHORT_MS) == 0;
      if (unknown_) register_due_ms_ = now;
    }
  }

  void broken() {
    lost("the connection is gone");
    counts_.failures++;
    enter(State::config, backoff_.next(esp_random()));
  }

  void obey(relevo::Slice payload) {
    using relevo::autocore::Verb;
    const relevo::autocore::Command command = relevo::autocore::understand(payload, static_cast<int>(relays.count()));
    counts_.commands++;
    if (const relevo::Result* known = ledger_.find(command.id)) {
      counts_.replayed++;
      return say(known->answer.slice());
    }
    relevo::json::Message<ANSWER_BYTES> answer;
    switch (command.verb) {
      case Verb::ping:
        relevo::autocore::pong(answer, command, static_cast<long>(now_ms() / 1000));
        break;
      case Verb::status:
        relevo::autocore::condition(answer, command, identity(), condition());
        break;
      case Verb::refused:
        counts_.refused++;
        relevo::autocore::refusal(answer, command);
        break;
      case Verb::relay:
        relevo::autocore::switched(answer, command);
        // Remembered before it is done: a reset in between must not let it be done twice.
        if (!command.id.empty() && !store.keep(ledger_, ledger_.remember(command.id, answer.slice()))) return;
        relays.command(command.channel, command.state, now_ms());
        status_due_ms_ = now_ms();
        break;
    }
    if (answer.ok()) say(answer.slice());
  }

  void say(relevo::Slice answer) {
    relevo::Text<ANSWER_BYTES> text;
    if (text.assign(answer)) answers_.push(text, now_ms());
  }

  static constexpr size_t ANSWER_BYTES = 704;

  WiFiClient socket_;
  MQTTClient mqtt_{768, 256};
  relevo::Ledger<16> ledger_;
  relevo::Outbox<relevo::Text<ANSWER_BYTES>, 8> answers_;
  relevo::Backoff backoff_;
  relevo::Text<17> mac_;
  relevo::Text<45> ip_;
  Counts counts_;
  State state_ = State::provision;
  uint64_t due_ms_ = 0, joined_ms_ = 0, prompt_ms_ = 0, status_due_ms_ = 0, register_due_ms_ = 0;
  bool point_ = false, unknown_ = false, refused_ = false;
};
