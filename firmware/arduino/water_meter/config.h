// What differs from meter to meter. Network, broker and serial number are entered over the serial console.
#pragma once

#include <RelevoCore.h>

// The drawing in diagram.json agrees with these.
constexpr uint8_t SENSOR_PIN = 2;
constexpr uint8_t BUTTON_PIN = 4;
constexpr uint8_t LED_PIN = 13;
// A display of 16 by 2 on the I2C bus; compiled in with -DWITH_LCD.
constexpr uint8_t LCD_ADDRESS = 0x27;

constexpr uint32_t INTERVAL_MS = 1000;
// Without a broker a reading is kept only so often, and of those as many as KEPT.
constexpr uint32_t AWAY_INTERVAL_MS = 30000;
constexpr size_t KEPT = 240;
constexpr uint32_t SAVE_MS = 60000;
constexpr uint32_t JOIN_MS = 10000;
constexpr uint32_t PROMPT_MS = 30000;
constexpr int KEEP_ALIVE_S = 30;
// The loop waits for nothing longer than this.
constexpr int SHORT_MS = 1000;
// Before that nobody has told the clock.
constexpr long long YEAR_2024 = 1704067200;

constexpr relevo::Field FIELDS[] = {
    {"wifi_ssid", relevo::FieldKind::text, "", 0, 32, false},
    {"wifi_password", relevo::FieldKind::secret, "", 0, 63, false},
    // None by default: a public broker would be told when a home is occupied.
    {"broker", relevo::FieldKind::text, "", 0, 63, false},
    {"port", relevo::FieldKind::whole, "1883", 1, 65535, false},
    {"username", relevo::FieldKind::text, nullptr, 0, 128, false},
    {"password", relevo::FieldKind::secret, nullptr, 0, 128, false},
    {"serial", relevo::FieldKind::text, "", 0, 64, false},
    {"topic_dados", relevo::FieldKind::text, "hidrometro/dados", 1, 120, false},
    {"topic_cmd", relevo::FieldKind::text, "hidrometro/cmd", 1, 120, false},
    // Readings carry a time as soon as this has answered; `none` asks nobody.
    {"time_server", relevo::FieldKind::text, "pool.ntp.org", 1, 63, false},
};
constexpr size_t FIELD_COUNT = sizeof FIELDS / sizeof FIELDS[0];
