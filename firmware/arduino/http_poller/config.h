// What differs from board to board. Device, token, server and network are entered with `provision` over the serial
// line.
#pragma once

#include <Arduino.h>
#include <RelevoCore.h>

// Used while no network was entered; an image for many boards may name one here.
constexpr const char* WIFI_NAME = "";
constexpr const char* WIFI_PASSWORD = "";

// The authority that signed the server's certificate, in PEM (`relevo ca show`). Without one nothing is asked over
// HTTPS: a connection that is not checked is not safe.
#ifndef ROOT_CA
#define ROOT_CA ""
#endif
// Plain HTTP goes to private addresses alone, unless this is compiled in with -DPLAIN_HTTP=true.
#ifndef PLAIN_HTTP
#define PLAIN_HTTP false
#endif

// Virtual pins v0 to v4.
constexpr uint8_t OUTPUT_PINS[] = {2, 4, 5, 18, 19};
constexpr int OUTPUTS = sizeof OUTPUT_PINS;

// What is measured. A sensor that gives no number is left out of the message.
struct Sensor {
  const char* key;
  double (*read)();
};
constexpr Sensor SENSORS[] = {
    {"temperature", [] { return static_cast<double>(temperatureRead()); }},
};

constexpr int TIMEOUT_MS = 5000;
constexpr uint32_t RECONNECT_MS = 5000;
constexpr uint32_t PROMPT_MS = 30000;
// Nothing has worked for so long: perhaps a restart helps.
constexpr uint32_t RESTART_AFTER_MS = 900000;
