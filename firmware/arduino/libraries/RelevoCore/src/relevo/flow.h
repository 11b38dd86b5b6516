// Pulses to litres (contract hidrometro, section 8). The sensor, a YF-S201, gives 7.5 Hz for each litre a minute.
#pragma once

#include <math.h>
#include <stdint.h>

namespace relevo {

class Flow {
 public:
  static constexpr double FACTOR = 7.5, SIMULATED_LMIN = 8.0, TOTAL_MOST = 1e12;

  // What was kept; what cannot be is as usual.
  void begin(double factor, double total_l) {
    factor_ = usable(factor) ? factor : FACTOR;
    total_l_ = isfinite(total_l) && total_l >= 0 && total_l < TOTAL_MOST ? total_l : 0;
  }

  // `pulses` were counted in `interval_ms`. An interval of nothing changes nothing.
  void take(uint32_t pulses, uint32_t interval_ms) {
    if (!interval_ms) return;
    flow_lmin_ = simulated_lmin_ > 0 ? simulated_lmin_ : pulses * 1000.0 / interval_ms / factor_;
    total_l_ += flow_lmin_ * interval_ms / 60000.0;
  }

  // Pulses a second for each L/min. False, and nothing changed, for what is not above 0.
  bool calibrate(double factor) {
    if (!usable(factor)) return false;
    factor_ = factor;
    return true;
  }
  // From now on this flow in L/min instead of the sensor's; false for what is not above 0.
  bool simulate(double lmin) {
    if (!usable(lmin)) return false;
    simulated_lmin_ = lmin;
    return true;
  }
  void stop_simulating() { simulated_lmin_ = 0; }
  void reset() { total_l_ = 0; }

  double factor() const { return factor_; }
  double total_l() const { return total_l_; }
  double flow_lmin() const { return flow_lmin_; }
  bool simulating() const { return simulated_lmin_ > 0; }

 private:
  // Above 0, and not so little that a pulse would be more than a lake.
  static bool usable(double value) { return isfinite(value) && value >= 1e-6 && value < 1e6; }

  double factor_ = FACTOR, total_l_ = 0, flow_lmin_ = 0, simulated_lmin_ = 0;
};

// A key that is pressed counts once, when it has been down for 50 ms.
class Button {
 public:
  static constexpr uint32_t DEBOUNCE_MS = 50;

  // True in the one call in which the press counts.
  bool look(bool down, uint64_t now_ms) {
    if (!down) {
      down_ = counted_ = false;
      return false;
    }
    if (!down_) {
      down_ = true;
      since_ms_ = now_ms;
    }
    if (counted_ || now_ms - since_ms_ < DEBOUNCE_MS) return false;
    counted_ = true;
    return true;
  }

 private:
  bool down_ = false, counted_ = false;
  uint64_t since_ms_ = 0;
};

}  // namespace relevo
