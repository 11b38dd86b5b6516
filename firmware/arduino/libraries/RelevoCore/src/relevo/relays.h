// Relays, and when they let go by themselves. After a reset everything is off: what moves has to be asked for again.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace relevo {

// `momentary` is on while somebody holds a key (a heartbeat at least every second), `pulse` for a set time.
enum class RelayKind : uint8_t { toggle, momentary, pulse };

constexpr uint32_t RELEASE_MS = 1000;

// Channels count from 1. `Output` is called as output(channel, on), for changes alone and once for each at the start.
template <size_t Most, typename Output>
class Relays {
 public:
  Relays(Output output) : output_(output) {}

  void begin(size_t count, const RelayKind* kinds, uint32_t pulse_ms) {
    count_ = count < Most ? count : Most;
    pulse_ms_ = pulse_ms;
    for (size_t i = 0; i < count_; i++) {
      kinds_[i] = kinds ? kinds[i] : RelayKind::toggle;
      output_(static_cast<int>(i + 1), false);
    }
    states_ = 0;
  }

  // False for a channel that is not there.
  bool command(int channel, bool on, uint64_t now_ms) {
    if (!has(channel)) return false;
    const RelayKind kind = kinds_[channel - 1];
    ends_[channel - 1] =
        !on || kind == RelayKind::toggle ? 0 : now_ms + (kind == RelayKind::pulse ? pulse_ms_ : RELEASE_MS);
    put(channel, on);
    return true;
  }

  // Somebody still holds the key; one that is off already stays off.
  void held(int channel, uint64_t now_ms) {
    if (has(channel) && kinds_[channel - 1] == RelayKind::momentary && is_on(channel))
      ends_[channel - 1] = now_ms + RELEASE_MS;
  }

  // Let go of what is due; whether that moved one. Call it often.
  bool step(uint64_t now_ms) {
    bool moved = false;
    for (size_t i = 0; i < count_; i++) {
      if (!ends_[i] || now_ms < ends_[i]) continue;
      ends_[i] = 0;
      moved = put(static_cast<int>(i + 1), false) || moved;
    }
    return moved;
  }

  bool is_on(int channel) const { return has(channel) && (states_ >> (channel - 1) & 1); }
  bool has(int channel) const { return channel >= 1 && static_cast<size_t>(channel) <= count_; }
  uint32_t states() const { return states_; }
  size_t count() const { return count_; }

 private:
  static_assert(Most <= 32, "states are bits of 32");

  bool put(int channel, bool on) {
    if (is_on(channel) == on) return false;
    states_ ^= uint32_t{1} << (channel - 1);
    output_(channel, on);
    return true;
  }

  Output output_;
  size_t count_ = 0;
  uint32_t states_ = 0, pulse_ms_ = 500;
  RelayKind kinds_[Most] = {};
  uint64_t ends_[Most] = {};
};

}  // namespace relevo
