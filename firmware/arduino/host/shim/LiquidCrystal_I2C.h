// A display whose lines are told.
#pragma once

#include "Arduino.h"

class LiquidCrystal_I2C : public Print {
 public:
  LiquidCrystal_I2C(uint8_t, uint8_t columns, uint8_t) : columns_(columns) {}
  void init() {}
  void backlight() {}
  void setCursor(uint8_t column, uint8_t row) { column_ = column, row_ = row; }
  size_t write(const uint8_t* bytes, size_t size) override {
    if (column_ + size > columns_) shim::tell("fault a line of the display is too long");
    shim::tell("lcd %d %.*s", row_, static_cast<int>(size), reinterpret_cast<const char*>(bytes));
    return size;
  }

 private:
  uint8_t columns_, column_ = 0, row_ = 0;
};
