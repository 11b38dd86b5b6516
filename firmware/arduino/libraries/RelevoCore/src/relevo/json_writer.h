// Writes JSON into memory that the caller has. `ok()` is false as soon as something did not fit; then nothing is sent.
#pragma once

#include <math.h>
#include <stdlib.h>

#include "text.h"

namespace relevo {
namespace json {

class Writer {
 public:
  Writer(char* out, size_t capacity) : out_(out), capacity_(capacity) {
    if (capacity_) out_[0] = 0;
  }

  Writer& begin_object() { return begin('{'); }
  Writer& end_object() { return end('}'); }
  Writer& begin_list() { return begin('['); }
  Writer& end_list() { return end(']'); }

  Writer& key(Slice name) {
    comma();
    quoted(name);
    raw(":");
    fresh_ = true;
    return *this;
  }

  Writer& text(Slice value) {
    comma();
    return quoted(value);
  }
  Writer& integer(long long value) {
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", value);
    comma();
    return raw(digits);
  }
  // The shortest that reads back as the same; what is no number becomes null.
  Writer& number(double value) {
    if (!isfinite(value)) return null();
    char digits[40];
    snprintf(digits, sizeof digits, "%.15g", value);
    if (strtod(digits, nullptr) != value) snprintf(digits, sizeof digits, "%.17g", value);
    comma();
    return raw(digits);
  }
  Writer& boolean(bool value) {
    comma();
    return raw(value ? "true" : "false");
  }
  Writer& null() {
    comma();
    return raw("null");
  }

  // Members. A number that is none is left out: a board never says nan.
  Writer& member(Slice name, Slice value) { return key(name).text(value); }
  Writer& member(Slice name, const char* value) { return key(name).text(value); }
  Writer& member(Slice name, bool value) { return key(name).boolean(value); }
  Writer& member(Slice name, int value) { return key(name).integer(value); }
  Writer& member(Slice name, long value) { return key(name).integer(value); }
  Writer& member(Slice name, unsigned value) { return key(name).integer(value); }
  Writer& member(Slice name, unsigned long value) { return key(name).integer(static_cast<long long>(value)); }
  Writer& member(Slice name, long long value) { return key(name).integer(value); }
  Writer& member(Slice name, double value) { return isfinite(value) ? key(name).number(value) : *this; }

  bool ok() const { return !overflow_; }
  const char* c_str() const { return capacity_ ? out_ : ""; }
  size_t size() const { return used_; }
  Slice slice() const { return Slice(c_str(), used_); }

 private:
  Writer& begin(char mark) {
    comma();
    const char both[] = {mark, 0};
    raw(both);
    fresh_ = true;
    return *this;
  }
  Writer& end(char mark) {
    const char both[] = {mark, 0};
    raw(both);
    fresh_ = false;
    return *this;
  }
  void comma() {
    if (!fresh_) raw(",");
    fresh_ = false;
  }
  Writer& quoted(Slice value) {
    raw("\"");
    for (size_t i = 0; i < value.size; i++) {
      const unsigned char letter = static_cast<unsigned char>(value.data[i]);
      char escaped[8];
      if (letter == '"' || letter == '\\') snprintf(escaped, sizeof escaped, "\\%c", letter);
      else if (letter < 0x20) snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(letter));
      else snprintf(escaped, sizeof escaped, "%c", letter);
      raw(escaped);
    }
    return raw("\"");
  }
  Writer& raw(const char* text) {
    const size_t size = strlen(text);
    if (overflow_ || used_ + size + 1 > capacity_) {
      overflow_ = true;
      return *this;
    }
    memcpy(out_ + used_, text, size + 1);
    used_ += size;
    return *this;
  }

  char* out_;
  size_t capacity_, used_ = 0;
  // At the start, and behind an opening mark or a key, no comma is due.
  bool fresh_ = true, overflow_ = false;
};

// A writer with its own room.
template <size_t Bytes>
class Message : public Writer {
 public:
  Message() : Writer(room_, Bytes) {}
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

 private:
  char room_[Bytes];
};

}  // namespace json
}  // namespace relevo
