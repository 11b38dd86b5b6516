// How long to wait before the next attempt: anywhere between a second and a bound that doubles up to a minute, so that
// a house full of boards does not return at once.
#pragma once

#include <stdint.h>

namespace relevo {

constexpr uint32_t FULL_RANGE = UINT32_MAX;

class Backoff {
 public:
  static constexpr uint32_t LEAST_MS = 1000, MOST_MS = 60000;

  // Milliseconds; `random` is any 32-bit number, evenly distributed.
  uint32_t next(uint32_t random) {
    uint32_t bound = MOST_MS;
    if (failures_ < 6) bound = LEAST_MS << (failures_ + 1) < MOST_MS ? LEAST_MS << (failures_ + 1) : MOST_MS;
    if (failures_ < 255) failures_++;
    const uint64_t range = bound - LEAST_MS;
    return LEAST_MS + static_cast<uint32_t>(range * random / FULL_RANGE);
  }
  void succeeded() { failures_ = 0; }
  uint8_t failures() const { return failures_; }

 private:
  uint8_t failures_ = 0;
};

}  // namespace relevo
