// What the meter keeps over a reset: settings, secrets apart from them, total and calibration.
#pragma once

#include <Preferences.h>

#include "config.h"

using MeterSettings = relevo::Settings<FIELD_COUNT>;

class Store {
 public:
  void load(MeterSettings& settings, relevo::Flow& flow) {
    space_.begin("hidrometro");
    for (const bool secrets : {false, true}) {
      static char text[TEXT_MOST];
      static relevo::json::Document<24, TEXT_MOST> room;
      if (space_.getString(key(secrets), text, sizeof text)) settings.read(relevo::Slice(text), room);
    }
    settings.saved();
    boot_ = space_.getUInt("boot", 0) + 1;
    space_.putUInt("boot", boot_);
    flow.begin(space_.getDouble("factor", relevo::Flow::FACTOR), space_.getDouble("total", 0));
    factor_ = flow.factor();
    total_ = flow.total_l();
  }

  void save(MeterSettings& settings) {
    if (!settings.changed()) return;
    for (const bool secrets : {false, true}) {
      static relevo::json::Message<TEXT_MOST> text;
      relevo::json::Writer out(const_cast<char*>(text.c_str()), TEXT_MOST);
      settings.write(out, secrets);
      if (out.ok()) space_.putString(key(secrets), out.c_str());
    }
    settings.saved();
  }

  // Flash wears: what is stored already is not written again.
  void save(const relevo::Flow& flow) {
    if (flow.factor() != factor_) space_.putDouble("factor", factor_ = flow.factor());
    if (flow.total_l() != total_) space_.putDouble("total", total_ = flow.total_l());
  }

  void forget() { space_.clear(); }
  uint32_t boot() const { return boot_; }

 private:
  static constexpr size_t TEXT_MOST = 1024;
  static const char* key(bool secrets) { return secrets ? "secrets" : "config"; }

  Preferences space_;
  uint32_t boot_ = 0;
  double factor_ = 0, total_ = 0;
};
