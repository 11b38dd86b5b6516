// What a water meter says and hears (contract hidrometro, section 3).
#pragma once

#include "flow.h"
#include "json.h"
#include "json_writer.h"

namespace relevo {
namespace meter {

constexpr size_t SERIAL_MOST = 64;
using SerialNumber = Text<SERIAL_MOST>;

// As serials are compared: trimmed, in capitals. False when it is longer than 64 characters.
inline bool set_serial(SerialNumber& out, Slice serial) {
  serial = trimmed(serial);
  if (serial.size > SERIAL_MOST) return false;
  char capitals[SERIAL_MOST];
  for (size_t i = 0; i < serial.size; i++) capitals[i] = upper(serial.data[i]);
  return out.assign(Slice(capitals, serial.size));
}

inline double rounded(double value, double steps) { return round(value * steps) / steps; }

// `unix_s` is 0 while nobody knows the time; an empty serial is left out.
inline void reading(json::Writer& out, double total_l, double flow_lmin, Slice serial, long long unix_s) {
  out.begin_object().member("totalLiters", rounded(total_l, 1e4)).member("flowLmin", rounded(flow_lmin, 1e3));
  if (!serial.empty()) out.member("numeroSerie", serial);
  if (unix_s > 0) out.member("ts", unix_s);
  out.end_object();
}

enum class Done : uint8_t { refused, foreign, nothing_to_keep, keep };

// Do what a message says. `keep` asks for the meter's state to be stored. What names another meter, and what makes no
// sense, changes nothing.
inline Done obey(Flow& flow, Slice payload, Slice serial) {
  json::Document<16, 512> document;
  if (document.parse(payload) != json::Problem::none) return Done::refused;
  const json::Value body = document.root();
  Slice action, text;
  double number = 0;
  const json::Value named = body["numeroSerie"];
  if (named.exists() && !named.is_null()) {
    SerialNumber meant;
    if (!named.read(text) || !set_serial(meant, text)) return Done::refused;
    if (!meant.empty() && meant.slice() != serial) return Done::foreign;
  }
  if (!body["action"].read(action)) return Done::refused;
  const json::Value value = body["value"];
  const bool given = value.exists() && !value.is_null();
  if (given && !value.read(number)) return Done::refused;
  if (action == Slice("reset")) {
    flow.reset();
    return Done::keep;
  }
  if (action == Slice("setCalibration")) return given && flow.calibrate(number) ? Done::keep : Done::refused;
  if (action == Slice("simulate") || action == Slice("simSetFlow"))
    return flow.simulate(given ? number : Flow::SIMULATED_LMIN) ? Done::nothing_to_keep : Done::refused;
  if (action == Slice("simOff") || action == Slice("simulateOff")) {
    flow.stop_simulating();
    return Done::nothing_to_keep;
  }
  return Done::refused;
}

}  // namespace meter
}  // namespace relevo
