// The little of the ESP32's Arduino core that the sketches use, on a computer. Time stands still until it is told to
// move; pins, interrupts and resets are driven by lines that begin with `!` (see shim.cpp).
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <string>

#include "Print.h"

#define HIGH 1
#define LOW 0
#define INPUT 1
#define OUTPUT 3
#define INPUT_PULLUP 5
#define RISING 1
#define FALLING 2
#define IRAM_ATTR
#define F(text) text

using byte = uint8_t;
using boolean = bool;

unsigned long millis();
void delay(uint32_t ms);
void yield();
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t level);
int digitalRead(uint8_t pin);
inline uint8_t digitalPinToInterrupt(uint8_t pin) { return pin; }
void attachInterrupt(uint8_t pin, void (*handler)(), int mode);
uint32_t esp_random();
float temperatureRead();
void configTime(long offset_s, int daylight_s, const char* server);

// As FreeRTOS has it: on a computer nothing interrupts, but who leaves must have entered.
struct portMUX_TYPE {
  int depth;
};
#define portMUX_INITIALIZER_UNLOCKED {0}
inline void portENTER_CRITICAL(portMUX_TYPE* lock) { lock->depth++; }
inline void portEXIT_CRITICAL(portMUX_TYPE* lock) {
  if (--lock->depth < 0) abort();
}
#define portENTER_CRITICAL_ISR portENTER_CRITICAL
#define portEXIT_CRITICAL_ISR portEXIT_CRITICAL

struct EspClass {
  uint64_t getEfuseMac();
  uint32_t getFreeHeap() { return 200000; }
  uint32_t getMinFreeHeap() { return 180000; }
  [[noreturn]] void restart();
};
extern EspClass ESP;

class HardwareSerial : public Print {
 public:
  void begin(unsigned long) {}
  int available();
  int read();
  size_t write(const uint8_t* bytes, size_t size) override;
};
extern HardwareSerial Serial;

namespace shim {
// Seconds since 1970 as the board believes; 0 before it was told.
time_t wall(time_t* out);
uint64_t now_us();
// Something for whoever drives the board, on a line of its own.
void tell(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
const char* environment(const char* name, const char* usual);
bool network();
// Real milliseconds, for waiting on sockets.
uint64_t real_ms();
}  // namespace shim

#define time(out) shim::wall(out)

// Words that the real header takes away from everybody who includes it.
#define PI 3.1415926535897932384626433832795
#define DEFAULT 1
#define EXTERNAL 0
#define SERIAL 0x0
#define DISPLAY 0x1
#define LSBFIRST 0
#define CHANGE 0x03
#define ONLOW 0x04
#define DISABLED 0x00
#define ANALOG 0xC0
#define word(...) makeWord(__VA_ARGS__)
#define bit(b) (1UL << (b))
#define sq(x) ((x) * (x))
#define lowByte(w) ((uint8_t)((w) & 0xff))
#define highByte(w) ((uint8_t)((w) >> 8))
