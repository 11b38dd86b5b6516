// Non-volatile storage as files below SHIM_NVS, with the limits of the real one: names of at most 15 letters.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "Arduino.h"

class Preferences {
 public:
  bool begin(const char* space, bool read_only = false) {
    if (strlen(space) > 15) return fault("namespace", space);
    space_ = space;
    read_only_ = read_only;
    return true;
  }
  void end() { space_.clear(); }

  size_t putBytes(const char* key, const void* bytes, size_t size) {
    if (space_.empty() || read_only_ || strlen(key) > 15) return fault("put", key), 0;
    const std::string path = place(key), fresh = path + ".new";
    std::ofstream(fresh, std::ios::binary).write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    if (rename(fresh.c_str(), path.c_str()) != 0) return 0;
    shim::tell("nvs %s %s", space_.c_str(), key);
    return size;
  }
  size_t getBytesLength(const char* key) { return load(key).size(); }
  size_t getBytes(const char* key, void* out, size_t most) {
    const std::string found = load(key);
    if (found.empty() || found.size() > most) return 0;
    memcpy(out, found.data(), found.size());
    return found.size();
  }
  size_t putString(const char* key, const char* text) { return putBytes(key, text, strlen(text)); }
  size_t getString(const char* key, char* out, size_t most) {
    const std::string found = load(key);
    if (!isKey(key) || found.size() + 1 > most) return 0;
    memcpy(out, found.c_str(), found.size() + 1);
    return found.size() + 1;
  }
  size_t putDouble(const char* key, double value) { return putBytes(key, &value, sizeof value); }
  double getDouble(const char* key, double usual) {
    double value = usual;
    return getBytes(key, &value, sizeof value) == sizeof value ? value : usual;
  }
  size_t putUInt(const char* key, uint32_t value) { return putBytes(key, &value, sizeof value); }
  uint32_t getUInt(const char* key, uint32_t usual) {
    uint32_t value = usual;
    return getBytes(key, &value, sizeof value) == sizeof value ? value : usual;
  }
  bool isKey(const char* key) { return access(place(key).c_str(), F_OK) == 0; }
  bool remove(const char* key) { return unlink(place(key).c_str()) == 0; }
  bool clear() {
    const std::string command = "rm -f '" + root() + "'/" + space_ + ".*";
    shim::tell("nvs %s cleared", space_.c_str());
    return system(command.c_str()) == 0;
  }

 private:
  static std::string root() { return shim::environment("SHIM_NVS", "."); }
  std::string place(const char* key) { return root() + "/" + space_ + "." + key; }
  std::string load(const char* key) {
    std::ostringstream text;
    text << std::ifstream(place(key), std::ios::binary).rdbuf();
    return text.str();
  }
  bool fault(const char* what, const char* name) {
    shim::tell("fault nvs %s %s", what, name);
    return false;
  }

  std::string space_;
  bool read_only_ = false;
};
