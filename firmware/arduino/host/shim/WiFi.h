// A network that is there as soon as somebody names it, unless `!wifi off` says otherwise.
#pragma once

#include "WiFiClient.h"

enum wl_status_t { WL_IDLE_STATUS, WL_CONNECTED = 3, WL_DISCONNECTED = 6 };
enum wifi_mode_t { WIFI_OFF, WIFI_STA, WIFI_AP, WIFI_AP_STA };

struct IPAddress {
  IPAddress(uint8_t = 127, uint8_t = 0, uint8_t = 0, uint8_t = 1) {}
  String toString() const { return "127.0.0.1"; }
};

class WiFiClass {
 public:
  bool mode(wifi_mode_t) { return true; }
  void setAutoReconnect(bool) {}
  void persistent(bool) {}
  wl_status_t begin(const char* ssid, const char*) {
    joined_ = ssid && *ssid;
    shim::tell("wifi %s", ssid);
    return status();
  }
  bool disconnect() {
    joined_ = false;
    return true;
  }
  wl_status_t status() { return joined_ && shim::network() ? WL_CONNECTED : WL_DISCONNECTED; }
  int8_t RSSI() { return -61; }
  IPAddress localIP() { return IPAddress(); }
  uint8_t* macAddress(uint8_t* mac) {
    const uint64_t bytes = ESP.getEfuseMac();
    for (int i = 0; i < 6; i++) mac[i] = static_cast<uint8_t>(bytes >> (8 * i));
    return mac;
  }
  bool softAP(const char* name, const char* password) {
    shim::tell("access-point %s %d", name, static_cast<int>(strlen(password)));
    return true;
  }
  bool softAPdisconnect(bool) { return true; }

 private:
  bool joined_ = false;
};
inline WiFiClass WiFi;
