// The serial console: letters to lines, and the commands that boards with a table of settings share.
#pragma once

#include "text.h"

namespace relevo {

// Letters in, lines out. A line that is too long is dropped as a whole.
template <size_t Most>
class LineReader {
 public:
  // True when `letter` ended a line; it stands in line() until the next letter.
  bool feed(char letter) {
    if (done_) {
      line_.clear();
      done_ = false;
    }
    if (letter == '\r' || letter == '\n') {
      done_ = !too_long_;
      if (too_long_) line_.clear();
      too_long_ = false;
      // The second half of CR LF, and a bare Enter, say nothing.
      if (letter == '\n' && after_return_ && line_.empty()) done_ = false;
      after_return_ = letter == '\r';
      return done_;
    }
    after_return_ = false;
    if (!too_long_ && !line_.append(Slice(&letter, 1))) too_long_ = true;
    return false;
  }
  Slice line() const { return line_.slice(); }

 private:
  Text<Most> line_;
  bool done_ = false, too_long_ = false, after_return_ = false;
};

// The first word of `rest`, which loses it.
inline Slice next_word(Slice& rest) {
  rest = trimmed(rest);
  size_t size = 0;
  while (size < rest.size && !is_space(rest.data[size])) size++;
  const Slice first(rest.data, size);
  rest = trimmed(Slice(rest.data + size, rest.size - size));
  return first;
}

// What a console does; a board says how.
class ConsoleHost {
 public:
  virtual void say(const char* line) = 0;
  // Null when it was stored, otherwise why not.
  virtual const char* set(Slice name, Slice value) = 0;
  virtual void show() = 0;
  virtual void status() = 0;
  virtual void stats() = 0;
  virtual void debug(bool on) = 0;
  virtual void restart() = 0;
  virtual void forget() = 0;

 protected:
  ~ConsoleHost() = default;
};

// Commands without regard to case; values as they were typed.
class SettingsConsole {
 public:
  explicit SettingsConsole(ConsoleHost& host) : host_(host) {}

  void line(Slice text) {
    Slice rest = text;
    const Slice command = next_word(rest);
    if (command.empty()) return;
    if (is(command, "set")) {
      const Slice name = next_word(rest);
      set(name, rest);
    } else if (is(command, "wifi")) {
      // The password may hold spaces, the name may not; `set wifi_ssid` takes one that does.
      const Slice name = next_word(rest);
      if (set("wifi_ssid", name)) set("wifi_password", rest);
    } else if (is(command, "show")) {
      host_.show();
    } else if (is(command, "status")) {
      host_.status();
    } else if (is(command, "stats")) {
      host_.stats();
    } else if (is(command, "debug") && (is(rest, "on") || is(rest, "off"))) {
      host_.debug(is(rest, "on"));
    } else if (is(command, "restart")) {
      host_.restart();
    } else if (is(command, "factory-reset")) {
      host_.forget();
    } else if (is(command, "help")) {
      for (const char* one : HELP) host_.say(one);
    } else {
      host_.say("Unknown command; type help");
    }
  }

 private:
  static constexpr const char* HELP[] = {
      "wifi NAME PASSWORD   the network",
      "set NAME VALUE       one setting; show lists them",
      "show                 settings, without secrets",
      "status               how the board is",
      "stats                messages, failures, memory",
      "debug on             tell of every step; debug off ends that",
      "restart              start again",
      "factory-reset        forget everything and restart",
      "help                 this list",
  };

  static bool is(Slice word, const char* name) { return same_ignoring_case(word, Slice(name)); }
  bool set(Slice name, Slice value) {
    const char* problem = host_.set(name, value);
    host_.say(problem ? problem : "Stored.");
    return !problem;
  }

  ConsoleHost& host_;
};

}  // namespace relevo
