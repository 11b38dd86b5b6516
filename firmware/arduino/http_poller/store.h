// What the board keeps over a reset, under the names of contract thingsnxt (section 8).
#pragma once

#include <Preferences.h>

#include "config.h"

class Store {
 public:
  void load() {
    space_.begin("iot-config");
    read("device_id", now.device_id);
    read("device_token", now.device_token);
    read("api_url", now.api_url);
    if (!read("wifi_name", now.wifi_name)) now.wifi_name.assign(WIFI_NAME);
    if (!read("wifi_password", now.wifi_password)) now.wifi_password.assign(WIFI_PASSWORD);
  }

  bool keep(const relevo::Provision& answers) {
    bool kept = space_.putString("device_id", answers.device_id.c_str()) &&
                space_.putString("device_token", answers.device_token.c_str()) &&
                space_.putString("api_url", answers.api_url.c_str());
    if (!answers.wifi_name.empty()) kept = space_.putString("wifi_name", answers.wifi_name.c_str()) && kept;
    if (!answers.wifi_password.empty()) kept = space_.putString("wifi_password", answers.wifi_password.c_str()) && kept;
    load();
    return kept;
  }

  void forget() { space_.clear(); }
  bool provisioned() const { return !now.device_id.empty() && !now.device_token.empty() && !now.api_url.empty(); }

  relevo::Provision now;

 private:
  template <size_t Most>
  bool read(const char* key, relevo::Text<Most>& out) {
    char text[Most + 1];
    return space_.isKey(key) && space_.getString(key, text, sizeof text) && out.assign(relevo::Slice(text));
  }

  Preferences space_;
};
