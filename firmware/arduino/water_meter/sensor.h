// The flow sensor: an interrupt that counts, and nothing else.
#pragma once

#include <Arduino.h>

#include "config.h"

namespace sensor {

inline portMUX_TYPE lock = portMUX_INITIALIZER_UNLOCKED;
inline volatile uint32_t pulses = 0;

inline void IRAM_ATTR count() {
  portENTER_CRITICAL_ISR(&lock);
  pulses = pulses + 1;
  portEXIT_CRITICAL_ISR(&lock);
}

inline void begin() {
  pinMode(SENSOR_PIN, INPUT_PULLUP);
  attachInterrupt(digitalPinToInterrupt(SENSOR_PIN), count, FALLING);
}

// Copied and cleared with interrupts masked: a pulse in between would be lost.
inline uint32_t take() {
  portENTER_CRITICAL(&lock);
  const uint32_t taken = pulses;
  pulses = 0;
  portEXIT_CRITICAL(&lock);
  return taken;
}

}  // namespace sensor
