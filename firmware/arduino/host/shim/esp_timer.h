#pragma once

#include "Arduino.h"

// Microseconds since the start.
inline int64_t esp_timer_get_time() { return static_cast<int64_t>(shim::now_us()); }
