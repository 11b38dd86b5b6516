// Flow and total on a display of 16 by 2, when there is one.
#pragma once

#include "config.h"

#ifdef WITH_LCD
#include <LiquidCrystal_I2C.h>

class Display {
 public:
  void begin() {
    lcd_.init();
    lcd_.backlight();
  }
  void show(double flow_lmin, double total_l) {
    char line[17];
    snprintf(line, sizeof line, "%8.2f L/min  ", flow_lmin);
    lcd_.setCursor(0, 0);
    lcd_.print(line);
    snprintf(line, sizeof line, "%12.2f L  ", total_l);
    lcd_.setCursor(0, 1);
    lcd_.print(line);
  }

 private:
  LiquidCrystal_I2C lcd_{LCD_ADDRESS, 16, 2};
};
#else
class Display {
 public:
  void begin() {}
  void show(double, double) {}
};
#endif
