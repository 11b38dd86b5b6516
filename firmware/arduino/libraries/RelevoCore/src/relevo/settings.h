// Settings of a board: a table of fields, their values, and JSON for what lasts. Secrets are written apart from the
// rest and never shown.
#pragma once

#include "json.h"
#include "json_writer.h"

namespace relevo {

enum class FieldKind : uint8_t { text, secret, whole, flag };

struct Field {
  const char* name;
  FieldKind kind;
  // Null for a text that is null when it is empty.
  const char* usual;
  // The smallest and largest number; of a text the shortest and longest.
  long least, most;
  // How it is now, which is no reason to write.
  bool passing;
};

constexpr size_t VALUE_MOST = 128;

template <size_t Count>
class Settings {
 public:
  explicit Settings(const Field (&fields)[Count]) : fields_(fields) { clear(); }

  // Everything as usual again.
  void clear() {
    for (size_t i = 0; i < Count; i++) values_[i].assign(fields_[i].usual ? fields_[i].usual : "");
    changed_ = true;
  }

  const char* get(const char* name) const {
    const int place = find(name);
    return place < 0 ? "" : values_[place].c_str();
  }
  Slice slice(const char* name) const { return Slice(get(name)); }
  long number(const char* name) const { return strtol(get(name), nullptr, 10); }
  bool flag(const char* name) const { return slice(name) == Slice("true"); }

  bool known(Slice name) const { return find(name) >= 0; }

  // False, and nothing changed, for a field that is not there or a value that it cannot have.
  bool put(Slice name, Slice value) {
    const int place = find(name);
    if (place < 0 || !fits(fields_[place], value)) return false;
    if (values_[place].slice() == value) return true;
    values_[place].assign(value);
    if (!fields_[place].passing) changed_ = true;
    return true;
  }
  bool put(Slice name, long value) {
    Text<12> digits;
    digits.format("%ld", value);
    return put(name, digits.slice());
  }
  bool put(Slice name, bool value) { return put(name, Slice(value ? "true" : "false")); }
  bool put(Slice name, const char* value) { return put(name, Slice(value)); }

  // Whether something that lasts is another than when it was last saved.
  bool changed() const { return changed_; }
  void saved() { changed_ = false; }

  // An object of the secrets, or of everything else that lasts.
  void write(json::Writer& out, bool secrets) const {
    out.begin_object();
    for (size_t i = 0; i < Count; i++) {
      const Field& field = fields_[i];
      if (field.passing || (field.kind == FieldKind::secret) != secrets) continue;
      out.key(field.name);
      if (field.kind == FieldKind::whole) out.integer(strtol(values_[i].c_str(), nullptr, 10));
      else if (field.kind == FieldKind::flag) out.boolean(values_[i].slice() == Slice("true"));
      else if (values_[i].empty() && !field.usual) out.null();
      else out.text(values_[i].slice());
    }
    out.end_object();
  }

  // Take what write() gave; false for a text that is damaged. A value that cannot be leaves the usual one.
  template <size_t Nodes, size_t Bytes>
  bool read(Slice text, json::Document<Nodes, Bytes>& room) {
    if (room.parse(text) != json::Problem::none || !room.root().is_object()) return false;
    for (json::Value one = room.root().first(); one.exists(); one = one.next()) {
      const int place = find(one.key());
      if (place < 0) continue;
      Slice words;
      int64_t number = 0;
      bool flag = false;
      switch (fields_[place].kind) {
        case FieldKind::whole:
          if (one.read(number) && number >= fields_[place].least && number <= fields_[place].most)
            put(one.key(), static_cast<long>(number));
          break;
        case FieldKind::flag:
          if (one.read(flag)) put(one.key(), flag);
          break;
        default:
          if (one.read(words)) put(one.key(), words);
      }
    }
    return true;
  }

  const Field& field(size_t place) const { return fields_[place]; }
  const Text<VALUE_MOST>& value(size_t place) const { return values_[place]; }
  static constexpr size_t count() { return Count; }

 private:
  int find(Slice name) const {
    for (size_t i = 0; i < Count; i++)
      if (Slice(fields_[i].name) == name) return static_cast<int>(i);
    return -1;
  }

  static bool fits(const Field& field, Slice value) {
    long number = 0;
    switch (field.kind) {
      case FieldKind::whole:
        return parse_whole(value, field.least, field.most, number);
      case FieldKind::flag:
        return value == Slice("true") || value == Slice("false");
      default:
        for (size_t i = 0; i < value.size; i++)
          if (static_cast<unsigned char>(value.data[i]) < 0x20) return false;
        return value.size <= VALUE_MOST && static_cast<long>(value.size) >= field.least &&
               static_cast<long>(value.size) <= field.most;
    }
  }

  const Field (&fields_)[Count];
  Text<VALUE_MOST> values_[Count];
  bool changed_ = false;
};

}  // namespace relevo
