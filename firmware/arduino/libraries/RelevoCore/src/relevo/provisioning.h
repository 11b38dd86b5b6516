// The serial console of a polling board (contract thingsnxt, section 8): questions in turn, and nothing is stored
// before every answer is right.
#pragma once

#include "console.h"
#include "urls.h"

namespace relevo {

constexpr size_t TOKEN_MOST = 128;

struct Provision {
  Text<24> device_id;
  Text<TOKEN_MOST> device_token;
  Text<URL_MOST> api_url;
  Text<32> wifi_name;
  Text<63> wifi_password;
};

// The first letters, so that two can be told apart.
inline Text<8> masked(Slice token) {
  Text<8> shown;
  if (token.empty()) shown.assign("(none)");
  else shown.assign(Slice(token.data, token.size < 8 ? 0 : 2)), shown.append("***");
  return shown;
}

class ProvisionHost {
 public:
  virtual void say(const char* line) = 0;
  // Empty network fields keep what is there. False when the board could not store it.
  virtual bool store(const Provision& answers) = 0;
  virtual void status() = 0;
  virtual void stats() = 0;
  virtual void debug(bool on) = 0;
  virtual void reset() = 0;

 protected:
  ~ProvisionHost() = default;
};

class ProvisionConsole {
 public:
  explicit ProvisionConsole(ProvisionHost& host) : host_(host) {}

  bool asking() const { return question_ < QUESTIONS; }

  void line(Slice text) {
    text = trimmed(text);
    if (asking()) return answer(text);
    Slice rest = text;
    const Slice command = next_word(rest);
    if (command.empty()) return;
    if (is(command, "provision")) {
      answers_ = Provision();
      question_ = 0;
      host_.say(QUESTION[0]);
    } else if (is(command, "status")) {
      host_.status();
    } else if (is(command, "stats")) {
      host_.stats();
    } else if (is(command, "debug") && (is(rest, "on") || is(rest, "off"))) {
      host_.debug(is(rest, "on"));
    } else if (is(command, "reset")) {
      host_.reset();
    } else if (is(command, "help")) {
      for (const char* one : HELP) host_.say(one);
    } else {
      host_.say("Unknown command; type help");
    }
  }

 private:
  static constexpr int QUESTIONS = 5;
  static constexpr const char* QUESTION[QUESTIONS] = {
      "Device ID:", "Device Token:", "API URL:", "WiFi name (empty keeps it):", "WiFi password (empty keeps it):"};
  static constexpr const char* HELP[] = {
      "provision    enter device id, token, server and network",
      "status       what is set and whether it works",
      "stats        requests, failures, memory",
      "debug on     tell of every request; debug off ends that",
      "reset        forget everything and restart",
      "help         this list",
  };

  static bool is(Slice word, const char* name) { return same_ignoring_case(word, Slice(name)); }

  // Null when the answer was taken.
  const char* take(Slice text) {
    switch (question_) {
      case 0: {
        if (text.size != 24) return "Device ID must be 24 hexadecimal characters; nothing was stored";
        char letters[24];
        for (size_t i = 0; i < 24; i++) {
          letters[i] = lower(text.data[i]);
          if (!is_digit(letters[i]) && !(letters[i] >= 'a' && letters[i] <= 'f'))
            return "Device ID must be 24 hexadecimal characters; nothing was stored";
        }
        answers_.device_id.assign(Slice(letters, 24));
        return nullptr;
      }
      case 1:
        for (size_t i = 0; i < text.size; i++)
          if (text.data[i] <= ' ' || text.data[i] > '~') text.size = 0;
        if (text.empty() || !answers_.device_token.assign(text))
          return "Device Token must be 1 to 128 characters without spaces; nothing was stored";
        return nullptr;
      case 2: {
        Url url;
        while (text.size && text.data[text.size - 1] == '/') text.size--;
        if (!url.parse(text) || !answers_.api_url.assign(text))
          return "API URL must be http://HOST:PORT or https://HOST; nothing was stored";
        return nullptr;
      }
      case 3:
        return answers_.wifi_name.assign(text) ? nullptr : "WiFi name: at most 32 characters; nothing was stored";
      default:
        return answers_.wifi_password.assign(text) ? nullptr
                                                   : "WiFi password: at most 63 characters; nothing was stored";
    }
  }

  void answer(Slice text) {
    if (const char* problem = take(text)) {
      question_ = QUESTIONS;
      return host_.say(problem);
    }
    if (++question_ < QUESTIONS) return host_.say(QUESTION[question_]);
    if (!host_.store(answers_)) return host_.say("The board could not store it");
    Text<32> line;
    line.format("Stored. Token %s", masked(answers_.device_token).c_str());
    host_.say(line.c_str());
    answers_ = Provision();
  }

  ProvisionHost& host_;
  Provision answers_;
  int question_ = QUESTIONS;
};

}  // namespace relevo
