// There is no TLS on the computer: whoever asks for it gets no connection.
#pragma once

#include "WiFiClient.h"

class WiFiClientSecure : public WiFiClient {
 public:
  void setCACert(const char*) { checked_ = true; }
  int connect(const char* host, uint16_t port, int32_t) override {
    shim::tell("tls %s %d %s", host, port, checked_ ? "checked" : "unchecked");
    return 0;
  }

 private:
  bool checked_ = false;
};
