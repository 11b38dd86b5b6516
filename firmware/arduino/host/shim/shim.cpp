// Clock, pins, serial console and control of a board that runs as a process.
//
// Lines on standard input are typed into the board's serial console; those that begin with `!` are for the shim:
//
//     !advance MS      let that much time pass         !pin PIN LEVEL   an input, with its interrupt
//     !pulse PIN N     so many pulses to ground        !wifi on|off     the network
//     !clock SECONDS   set the time of day (0: none)   !end             leave at once, as a power cut
//
// After each a whole loop() runs, and then `@done` is written. What the board does comes as `@pin PIN LEVEL`,
// `@nvs NAMESPACE KEY`, `@restart` and so on; everything else on standard output is the board's serial console.
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <map>

#include "Arduino.h"

void setup();
void loop();

EspClass ESP;
HardwareSerial Serial;

namespace {

uint64_t clock_us = 0;
time_t wall_s = 0;
uint64_t wall_set_us = 0;
bool connected = true;
std::deque<uint8_t> typed;
std::map<uint8_t, int> levels;
std::map<uint8_t, uint8_t> modes;
struct Handler {
  void (*run)();
  int mode;
};
std::map<uint8_t, Handler> handlers;
std::string partial;
bool owing = false;

void drive(uint8_t pin, int level) {
  const int before = levels.count(pin) ? levels[pin] : HIGH;
  levels[pin] = level;
  if (before == level || !handlers.count(pin)) return;
  const Handler& handler = handlers[pin];
  if (handler.mode == (level ? RISING : FALLING)) handler.run();
}

void control(const std::string& line) {
  char what[16] = "", word[16] = "";
  long long first = 0, second = 0;
  sscanf(line.c_str(), "!%15s %15s %lld", what, word, &second);
  first = strtoll(word, nullptr, 10);
  const std::string name = what;
  if (name == "advance") clock_us += static_cast<uint64_t>(first) * 1000;
  else if (name == "pin") drive(static_cast<uint8_t>(first), static_cast<int>(second));
  else if (name == "wifi") connected = std::string(word) == "on";
  else if (name == "clock") wall_s = static_cast<time_t>(first), wall_set_us = clock_us;
  else if (name == "end") _exit(0);
  else if (name == "pulse") {
    for (long long i = 0; i < second; i++) {
      drive(static_cast<uint8_t>(first), LOW);
      drive(static_cast<uint8_t>(first), HIGH);
    }
  } else {
    shim::tell("fault unknown control %s", line.c_str());
    abort();
  }
  owing = true;
}

// One line a round; waits a little when there is none, so that an idle board costs little.
void listen() {
  size_t stop = partial.find('\n');
  if (stop == std::string::npos) {
    pollfd input{0, POLLIN, 0};
    if (poll(&input, 1, 2) <= 0) return;
    char bytes[512];
    const ssize_t count = read(0, bytes, sizeof bytes);
    if (count <= 0) _exit(0);
    partial.append(bytes, static_cast<size_t>(count));
    stop = partial.find('\n');
    if (stop == std::string::npos) return;
  }
  const std::string line = partial.substr(0, stop);
  partial.erase(0, stop + 1);
  if (!line.empty() && line[0] == '!') return control(line);
  typed.insert(typed.end(), line.begin(), line.end());
  typed.push_back('\n');
  owing = true;
}

}  // namespace

namespace shim {

time_t wall(time_t* out) {
  const time_t found = wall_s ? wall_s + static_cast<time_t>((clock_us - wall_set_us) / 1000000)
                              : static_cast<time_t>(clock_us / 1000000);
  if (out) *out = found;
  return found;
}
uint64_t now_us() { return clock_us; }
void tell(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  ::printf("@");
  vprintf(pattern, arguments);
  ::printf("\n");
  va_end(arguments);
  fflush(stdout);
}
const char* environment(const char* name, const char* usual) {
  const char* found = getenv(name);
  return found ? found : usual;
}
bool network() { return connected; }
uint64_t real_ms() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

}  // namespace shim

unsigned long millis() { return static_cast<uint32_t>(clock_us / 1000); }
void delay(uint32_t ms) {
  shim::tell("delay %u", ms);
  clock_us += uint64_t{ms} * 1000;
}
void yield() {}
void pinMode(uint8_t pin, uint8_t mode) { modes[pin] = mode; }
void digitalWrite(uint8_t pin, uint8_t level) {
  if (modes[pin] != OUTPUT) shim::tell("fault pin %d is no output", pin);
  if (levels.count(pin) && levels[pin] == level) return;
  levels[pin] = level;
  shim::tell("pin %d %d", pin, level);
}
int digitalRead(uint8_t pin) { return levels.count(pin) ? levels[pin] : modes[pin] == INPUT_PULLUP ? HIGH : LOW; }
void attachInterrupt(uint8_t pin, void (*handler)(), int mode) { handlers[pin] = {handler, mode}; }
uint32_t esp_random() {
  static uint64_t state = strtoull(shim::environment("SHIM_SEED", "1"), nullptr, 10) * 0x9E3779B97F4A7C15u + 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>(state >> 32);
}
float temperatureRead() { return strtof(shim::environment("SHIM_TEMPERATURE", "20.5"), nullptr); }
void configTime(long, int, const char*) {}

uint64_t EspClass::getEfuseMac() {
  unsigned bytes[6] = {0};
  sscanf(shim::environment("SHIM_MAC", "02:00:00:0a:1b:2c"), "%x:%x:%x:%x:%x:%x", &bytes[0], &bytes[1], &bytes[2],
         &bytes[3], &bytes[4], &bytes[5]);
  uint64_t mac = 0;
  for (int i = 0; i < 6; i++) mac |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return mac;
}
void EspClass::restart() {
  shim::tell("restart");
  exit(0);
}

int HardwareSerial::available() { return static_cast<int>(typed.size()); }
int HardwareSerial::read() {
  if (typed.empty()) return -1;
  const int letter = typed.front();
  typed.pop_front();
  return letter;
}
size_t HardwareSerial::write(const uint8_t* bytes, size_t size) {
  fwrite(bytes, 1, size, stdout);
  fflush(stdout);
  return size;
}

int main() {
  setup();
  shim::tell("started");
  for (;;) {
    loop();
    if (owing) {
      owing = false;
      shim::tell("done");
    }
    listen();
  }
}
