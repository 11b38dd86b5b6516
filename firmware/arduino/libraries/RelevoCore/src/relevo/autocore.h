// What a relay board says and hears (contract autocore, sections 4.1 and 4.3): values in, messages out.
#pragma once

#include "commands.h"
#include "json.h"
#include "json_writer.h"
#include "topics.h"

namespace relevo {
namespace autocore {

constexpr size_t CHANNELS_MOST = 32;
constexpr size_t COMMAND_MOST = 512;

struct Identity {
  Slice uuid, device_id, name, mac, ip, firmware;
  int channels = 16;
};

// What both the registration and the announcement tell. `announced` adds what only the second has.
inline void describe(json::Writer& out, const Identity& who, bool announced) {
  out.begin_object().member("uuid", who.uuid).member("name", who.name).member("type", "esp32_relay");
  out.member("mac_address", who.mac).member("ip_address", who.ip).member("firmware_version", who.firmware);
  out.member("hardware_version", "esp32").member("relay_channels", who.channels);
  if (announced) out.member("device_id", who.device_id);
  out.key("capabilities").begin_list().text("relay").end_list().end_object();
}

struct Condition {
  long uptime_s = 0;
  int rssi_dbm = 0;
  unsigned long free_bytes = 0;
  // Bit 0 is channel 1.
  uint32_t relays = 0;
};

// Relays as `relays`: a status with `relay_states` is how boards of an older kind are known.
inline void status(json::Writer& out, const Identity& who, const Condition& now) {
  out.begin_object().member("uuid", who.uuid).member("status", "online").member("uptime", now.uptime_s);
  out.member("wifi_rssi", now.rssi_dbm).member("free_memory", now.free_bytes).member("ip_address", who.ip);
  out.member("firmware_version", who.firmware).key("relays").begin_list();
  for (int i = 0; i < who.channels; i++) out.integer(now.relays >> i & 1);
  out.end_list().end_object();
}

inline void last_will(json::Writer& out, Slice uuid) {
  out.begin_object().member("uuid", uuid).member("status", "offline").member("reason", "lwt").end_object();
}

enum class Verb : uint8_t { refused, ping, status, relay };

// A command as it was understood.
struct Command {
  Verb verb = Verb::refused;
  const char* error = "";
  int channel = 0;
  bool state = false;
  // As it is compared: a number's digits behind `#`, so that 5 and "5" are two commands. Empty for none.
  Text<COMMAND_ID_MOST> id;
  bool id_is_number = false;
};

// `channels` is how many relays there are. Whatever is wrong with a command, no relay moves.
inline Command understand(Slice payload, int channels) {
  Command command;
  json::Document<24, COMMAND_MOST> document;
  command.error = "invalid_json";
  if (payload.size > COMMAND_MOST || document.parse(payload) != json::Problem::none) return command;
  const json::Value body = document.root();
  if (!body.is_object()) return command;
  Slice text;
  int64_t number = 0;
  const json::Value id = body["request_id"];
  if (id.read(number)) {
    command.id_is_number = true;
    command.id.format("#%lld", static_cast<long long>(number));
  } else if (id.read(text)) {
    // One that cannot be remembered could be executed twice.
    command.error = "invalid_request_id";
    if (text.empty() || text.data[0] == '#' || !command.id.assign(text)) return command;
  }
  command.error = "unknown_type";
  if (!body["type"].read(text)) return command;
  if (text == Slice("ping")) command.verb = Verb::ping;
  else if (text == Slice("status")) command.verb = Verb::status;
  if (command.verb != Verb::refused || text != Slice("relay")) return command;
  command.error = "invalid_channel";
  if (!body["channel"].read(number) || number < 1 || number > channels) return command;
  command.channel = static_cast<int>(number);
  command.error = "invalid_state";
  if (!body["state"].read(command.state)) return command;
  command.verb = Verb::relay;
  command.error = "";
  return command;
}

inline void echo(json::Writer& out, const Command& command) {
  if (command.id.empty()) return;
  if (command.id_is_number) out.key("request_id").integer(strtoll(command.id.c_str() + 1, nullptr, 10));
  else out.member("request_id", command.id.slice());
}

// Answers; `seconds` is the board's clock, `relays` how many there are.
inline void pong(json::Writer& out, const Command& command, long seconds) {
  out.begin_object().member("type", "pong").member("timestamp", seconds);
  echo(out, command);
  out.end_object();
}
inline void refusal(json::Writer& out, const Command& command) {
  out.begin_object().member("type", "error").member("error", command.error);
  echo(out, command);
  out.end_object();
}
inline void switched(json::Writer& out, const Command& command) {
  out.begin_object().member("type", "relay_response").member("channel", command.channel);
  out.member("state", command.state);
  echo(out, command);
  out.end_object();
}
inline void condition(json::Writer& out, const Command& command, const Identity& who, const Condition& now) {
  out.begin_object().member("type", "status").key("data");
  status(out, who, now);
  echo(out, command);
  out.end_object();
}

// The channel of a heartbeat for a key that is held, 0 for none (section 4.2).
inline int held_channel(Slice payload, int channels) {
  json::Document<16, 256> document;
  int64_t channel = 0;
  if (document.parse(payload) != json::Problem::none || !document.root()["channel"].read(channel)) return 0;
  return channel >= 1 && channel <= channels ? static_cast<int>(channel) : 0;
}

// The answer of /api/mqtt/config. The limits are those of section 3.
struct Broker {
  Text<63> host, password;
  Text<31> username;
  Text<PREFIX_MOST> prefix;
  long port = 1883;
};

// False for an answer that is none; what is stored stays then.
inline bool read_broker(Slice body, Broker& out) {
  json::Document<24, 768> document;
  if (document.parse(body) != json::Problem::none) return false;
  const json::Value found = document.root();
  Slice text;
  int64_t port = 1883;
  const json::Value host = found["broker"].exists() ? found["broker"] : found["broker_host"];
  if (!host.read(text) || text.empty() || !out.host.assign(text)) return false;
  const json::Value at = found["port"].exists() ? found["port"] : found["broker_port"];
  if (at.exists() && (!at.read(port) || port < 1 || port > 65535)) return false;
  out.port = static_cast<long>(port);
  const json::Value prefix = found["topic_prefix"];
  if (prefix.exists() && !prefix.read(text)) return false;
  if (!out.prefix.assign(prefix.exists() ? text : Slice("autocore")) || !valid_topic(out.prefix)) return false;
  const json::Value username = found["username"], password = found["password"];
  out.username.clear();
  out.password.clear();
  if (username.exists() && !username.is_null() && !(username.read(text) && out.username.assign(text))) return false;
  return !password.exists() || password.is_null() || (password.read(text) && out.password.assign(text));
}

}  // namespace autocore
}  // namespace relevo
