// Text of a fixed capacity. What does not fit is refused as a whole: half a topic or half a password is worse than
// none.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

namespace relevo {

// Bytes that belong to somebody else. `data` is never null; there may be no NUL behind it.
struct Slice {
  const char* data = "";
  size_t size = 0;

  Slice() = default;
  Slice(const char* text) : data(text ? text : ""), size(strlen(data)) {}
  Slice(const char* bytes, size_t count) : data(bytes ? bytes : ""), size(bytes ? count : 0) {}

  bool empty() const { return size == 0; }
  bool operator==(const Slice& other) const { return size == other.size && memcmp(data, other.data, size) == 0; }
  bool operator!=(const Slice& other) const { return !(*this == other); }
};

inline char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; }
inline char upper(char letter) { return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 32) : letter; }
inline bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }
inline bool is_space(char letter) { return letter == ' ' || letter == '\t' || letter == '\r' || letter == '\n'; }

// Without white space at both ends.
inline Slice trimmed(Slice text) {
  while (text.size && is_space(text.data[0])) text = Slice(text.data + 1, text.size - 1);
  while (text.size && is_space(text.data[text.size - 1])) text.size--;
  return text;
}

inline bool same_ignoring_case(Slice a, Slice b) {
  if (a.size != b.size) return false;
  for (size_t i = 0; i < a.size; i++)
    if (lower(a.data[i]) != lower(b.data[i])) return false;
  return true;
}

// A whole number in plain digits, nothing else; false leaves `out` as it was.
inline bool parse_whole(Slice text, long least, long most, long& out) {
  if (text.empty() || text.size > 10) return false;
  long long value = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (!is_digit(text.data[i])) return false;
    value = value * 10 + (text.data[i] - '0');
  }
  if (value < least || value > most) return false;
  out = static_cast<long>(value);
  return true;
}

// Up to `Capacity` bytes and a NUL behind them.
template <size_t Capacity>
class Text {
 public:
  Text() = default;

  // False, and nothing changed, when it does not fit.
  bool assign(Slice text) {
    if (text.size > Capacity) return false;
    memmove(data_, text.data, text.size);
    size_ = text.size;
    data_[size_] = 0;
    return true;
  }

  bool append(Slice text) {
    if (text.size > Capacity - size_) return false;
    memmove(data_ + size_, text.data, text.size);
    size_ += text.size;
    data_[size_] = 0;
    return true;
  }

  // As printf; false, and empty, when it does not fit.
  bool format(const char* pattern, ...) __attribute__((format(printf, 2, 3))) {
    va_list arguments;
    va_start(arguments, pattern);
    const int wanted = vsnprintf(data_, Capacity + 1, pattern, arguments);
    va_end(arguments);
    if (wanted < 0 || static_cast<size_t>(wanted) > Capacity) {
      clear();
      return false;
    }
    size_ = static_cast<size_t>(wanted);
    return true;
  }

  void clear() {
    size_ = 0;
    data_[0] = 0;
  }

  const char* c_str() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Slice slice() const { return Slice(data_, size_); }
  operator Slice() const { return slice(); }
  static constexpr size_t capacity() { return Capacity; }

 private:
  char data_[Capacity + 1] = {0};
  size_t size_ = 0;
};

}  // namespace relevo
