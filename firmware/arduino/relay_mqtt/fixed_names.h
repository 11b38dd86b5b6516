// The names that the contract fixes (autocore, section 7). Timeouts are seconds.
#pragma once

#include "page.h"

inline Board board;
inline Page page(board);

inline bool check_device_registration(int timeout = 10) { return board.look_up(timeout * 1000); }
inline bool register_device(int timeout = 10) { return board.enrol_now(timeout * 1000); }
inline bool get_mqtt_config(int timeout = 10) { return board.backend.fetch_broker(timeout * 1000); }
inline bool connect_mqtt(int timeout = 10) { return board.connect_mqtt(timeout * 1000); }
inline bool update_mqtt_status() { return board.update_status(); }
inline void mqtt_callback(MQTTClient*, char topic[], char bytes[], int length) {
  board.hear(relevo::Slice(topic), relevo::Slice(bytes, static_cast<size_t>(length)));
}
inline Answer http_get(const char* url, int timeout = 10) {
  return board.backend.request(url, nullptr, timeout * 1000);
}
inline Answer http_post(const char* url, const char* data, int timeout = 10) {
  const relevo::Slice body(data);
  return board.backend.request(url, &body, timeout * 1000);
}
inline void start_integrated_server() { page.begin(); }
