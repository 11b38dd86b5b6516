// What is still to be said, oldest first. It leaves the box when it was acknowledged and not before; when the box is
// full the oldest makes room and is counted.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace relevo {

template <typename T, size_t Capacity>
class Outbox {
  static_assert(Capacity > 0, "room for one at least");

 public:
  // `boot` and `seq` name an item for ever, `at_ms` is the board's own clock.
  struct Item {
    uint32_t boot = 0, seq = 0;
    uint64_t at_ms = 0;
    T value{};

    uint64_t age_ms(uint64_t now_ms) const { return now_ms > at_ms ? now_ms - at_ms : 0; }
  };

  explicit Outbox(uint32_t boot = 0) : boot_(boot) {}
  void begin(uint32_t boot) { boot_ = boot; }

  // The number that it got.
  uint32_t push(const T& value, uint64_t now_ms) {
    if (count_ == Capacity) {
      remove_first();
      dropped_++;
    }
    Item& item = items_[(first_ + count_++) % Capacity];
    item.boot = boot_;
    item.seq = ++seq_;
    item.at_ms = now_ms;
    item.value = value;
    return item.seq;
  }

  // The oldest; null when there is none. It stays until acknowledge().
  const Item* front() const { return count_ ? &items_[first_] : nullptr; }

  // False when that is not the oldest: it made room meanwhile, or was acknowledged before.
  bool acknowledge(uint32_t seq) {
    if (!count_ || items_[first_].seq != seq) return false;
    remove_first();
    return true;
  }

  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  // How many were lost since the start.
  uint32_t dropped() const { return dropped_; }

 private:
  void remove_first() {
    first_ = (first_ + 1) % Capacity;
    count_--;
  }

  Item items_[Capacity];
  size_t first_ = 0, count_ = 0;
  uint32_t boot_ = 0, seq_ = 0, dropped_ = 0;
};

}  // namespace relevo
