// What the board keeps over a reset: settings, secrets apart from them, and the answers to the last commands.
#pragma once

#include <Preferences.h>

#include "config.h"

using BoardSettings = relevo::Settings<FIELD_COUNT>;

class Store {
 public:
  // A part that is missing or damaged gives what is usual.
  void load(BoardSettings& settings, relevo::Ledger<16>& ledger) {
    space_.begin("autocore");
    for (const bool secrets : {false, true}) {
      static char text[TEXT_MOST];
      static relevo::json::Document<32, TEXT_MOST> room;
      if (space_.getString(key(secrets), text, sizeof text)) settings.read(relevo::Slice(text), room);
    }
    settings.saved();
    boot_ = space_.getUInt("boot", 0) + 1;
    space_.putUInt("boot", boot_);
    results_.begin("autocore-cmd");
    for (size_t i = 0; i < ledger.capacity(); i++) {
      uint8_t bytes[relevo::STORED_RESULT_MOST];
      relevo::restore(ledger, i, bytes, results_.getBytes(place(i).c_str(), bytes, sizeof bytes));
    }
  }

  // Written when something that lasts changed, and of the two parts only the one in which it did.
  void save(BoardSettings& settings) {
    if (!settings.changed()) return;
    for (const bool secrets : {false, true}) {
      static relevo::json::Message<TEXT_MOST> wanted;
      static char stored[TEXT_MOST];
      relevo::json::Writer out(const_cast<char*>(wanted.c_str()), TEXT_MOST);
      settings.write(out, secrets);
      if (!out.ok()) continue;
      if (space_.getString(key(secrets), stored, sizeof stored) && strcmp(stored, out.c_str()) == 0) continue;
      space_.putString(key(secrets), out.c_str());
    }
    settings.saved();
  }

  // False when it could not be kept: then the command must not be carried out.
  bool keep(const relevo::Ledger<16>& ledger, int index) {
    if (index < 0) return false;
    uint8_t bytes[relevo::STORED_RESULT_MOST];
    const size_t size = relevo::encode(ledger.at(static_cast<size_t>(index)), bytes);
    return results_.putBytes(place(static_cast<size_t>(index)).c_str(), bytes, size) == size;
  }

  void forget() {
    space_.clear();
    results_.clear();
  }
  // How often the board has started.
  uint32_t boot() const { return boot_; }

 private:
  static constexpr size_t TEXT_MOST = 1536;
  static const char* key(bool secrets) { return secrets ? "secrets" : "config"; }
  static relevo::Text<8> place(size_t index) {
    relevo::Text<8> name;
    name.format("r%u", static_cast<unsigned>(index));
    return name;
  }

  Preferences space_, results_;
  uint32_t boot_ = 0;
};
