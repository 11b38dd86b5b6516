// When to ask what: intervals, retries and giving way (contract thingsnxt, sections 7 and 8). Times are milliseconds of
// a clock that never jumps; nothing here waits.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace relevo {

enum class Ask : uint8_t { poll, telemetry, health };
constexpr size_t ASKS = 3;

class Pace {
 public:
  static constexpr uint32_t RETRY_MS = 1000, LONGEST_MS = 60000, SLOW_FOR_MS = 300000;
  static constexpr int RETRIES = 3;

  static constexpr uint32_t usual(Ask what) {
    return what == Ask::poll ? 4000 : what == Ask::telemetry ? 10000 : 60000;
  }
  static constexpr uint32_t slow(Ask what) { return what == Ask::poll ? 5000 : what == Ask::telemetry ? 15000 : 60000; }
  // Before the retry of this number, from 0: 1, 2, 4 seconds.
  static constexpr uint32_t retry_delay(int retry) { return RETRY_MS << retry; }

  bool due(Ask what, uint64_t now_ms) const { return now_ms >= of(what).due_ms; }

  void worked(Ask what, uint64_t now_ms) {
    of(what).retry = 0;
    of(what).cycles = 0;
    of(what).due_ms = now_ms + interval(what, now_ms, 0);
  }
  // No answer, or one that may be better the next time. `random` is any 32-bit number.
  void failed(Ask what, uint64_t now_ms, uint32_t random) {
    if (of(what).retry < RETRIES) of(what).due_ms = now_ms + retry_delay(of(what).retry++);
    else refused(what, now_ms, random);
  }
  // It would be refused again: no retry, the next interval.
  void refused(Ask what, uint64_t now_ms, uint32_t random) {
    of(what).retry = 0;
    if (of(what).cycles < 8) of(what).cycles++;
    of(what).due_ms = now_ms + interval(what, now_ms, random);
  }
  // 429, with Retry-After in seconds or 0: everything slows down for so long, for five minutes when it does not say.
  void too_many(Ask what, uint64_t now_ms, uint32_t retry_after_s) {
    slow_until_ms_ = now_ms + (retry_after_s ? retry_after_s * uint64_t{1000} : SLOW_FOR_MS);
    of(what).retry = 0;
    of(what).due_ms = now_ms + interval(what, now_ms, 0);
  }

  // Until the next request of this kind; after failures longer, up to a minute, with a little jitter.
  uint32_t interval(Ask what, uint64_t now_ms, uint32_t random) const {
    const uint32_t base = now_ms < slow_until_ms_ ? slow(what) : usual(what);
    const int cycles = of(what).cycles;
    if (!cycles) return base;
    uint64_t longer = uint64_t{base} << cycles;
    if (longer > LONGEST_MS) longer = LONGEST_MS;
    longer += longer * (random >> 16) / (4 * 65536);
    return static_cast<uint32_t>(longer > LONGEST_MS ? LONGEST_MS : longer);
  }

  // The next thing is due then.
  uint64_t next_ms() const {
    uint64_t next = plans_[0].due_ms;
    for (const Plan& one : plans_)
      if (one.due_ms < next) next = one.due_ms;
    return next;
  }

 private:
  struct Plan {
    uint64_t due_ms = 0;
    int retry = 0, cycles = 0;
  };
  Plan& of(Ask what) { return plans_[static_cast<size_t>(what)]; }
  const Plan& of(Ask what) const { return plans_[static_cast<size_t>(what)]; }

  Plan plans_[ASKS];
  uint64_t slow_until_ms_ = 0;
};

}  // namespace relevo
