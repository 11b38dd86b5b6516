// Print, and String as far as the sketches and the libraries they use need it.
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <string>

class String {
 public:
  String(const char* text = "") : text_(text ? text : "") {}
  String(const std::string& text) : text_(text) {}
  String(int value) : text_(std::to_string(value)) {}
  const char* c_str() const { return text_.c_str(); }
  unsigned length() const { return static_cast<unsigned>(text_.size()); }
  bool isEmpty() const { return text_.empty(); }
  long toInt() const { return strtol(text_.c_str(), nullptr, 10); }
  bool operator==(const char* other) const { return text_ == other; }
  bool operator!=(const char* other) const { return text_ != other; }
  String& operator+=(const char* more) {
    text_ += more;
    return *this;
  }

 private:
  std::string text_;
};

class Print {
 public:
  virtual ~Print() = default;
  virtual size_t write(const uint8_t* bytes, size_t size) = 0;
  size_t write(uint8_t one) { return write(&one, 1); }
  size_t print(const char* text) { return write(reinterpret_cast<const uint8_t*>(text), strlen(text)); }
  size_t print(long number) { return print(std::to_string(number).c_str()); }
  size_t println(const char* text = "") { return print(text) + print("\n"); }
  size_t printf(const char* pattern, ...) __attribute__((format(printf, 2, 3))) {
    char line[1024];
    va_list arguments;
    va_start(arguments, pattern);
    vsnprintf(line, sizeof line, pattern, arguments);
    va_end(arguments);
    return print(line);
  }
};
