// JSON (RFC 8259), strictly: one document, read into memory that the caller has.
//
// Refused are: anything behind the document, keys that appear twice, texts that are not UTF-8 or hold a NUL or half of
// a surrogate pair, numbers that are too large for a double, and whatever exceeds the limits of depth and room. A
// document is understood as a whole or not at all.
#pragma once

#include "json_parser.h"

namespace relevo {
namespace json {

// What a value is asked for it gives only when it is exactly that: 1 is no boolean, true no number, 1.0 no integer.
// A value of a document that is gone must not be used.
class Value {
 public:
  Value() = default;
  Value(const Node* nodes, const char* text, uint16_t index) : nodes_(nodes), text_(text), index_(index) {}

  Kind kind() const { return nodes_ ? node().kind : Kind::missing; }
  bool exists() const { return kind() != Kind::missing; }
  bool is_null() const { return kind() == Kind::null; }
  bool is_object() const { return kind() == Kind::object; }
  bool is_list() const { return kind() == Kind::list; }

  bool read(bool& out) const {
    if (kind() != Kind::boolean) return false;
    out = node().boolean;
    return true;
  }
  bool read(int64_t& out) const {
    if (kind() != Kind::integer) return false;
    out = node().integer;
    return true;
  }
  // Any number.
  bool read(double& out) const {
    if (kind() == Kind::integer) out = static_cast<double>(node().integer);
    else if (kind() == Kind::number) out = node().number;
    else return false;
    return true;
  }
  bool read(Slice& out) const {
    if (kind() != Kind::text) return false;
    out = Slice(text_ + node().part.first, node().part.size);
    return true;
  }

  // Elements or members; 0 for everything else.
  size_t size() const { return is_list() || is_object() ? node().part.size : 0; }
  Value first() const { return size() ? Value(nodes_, text_, node().part.first) : Value(); }
  Value next() const { return nodes_ && node().next ? Value(nodes_, text_, node().next) : Value(); }
  Slice key() const { return nodes_ ? Slice(text_ + node().key, node().key_size) : Slice(); }

  // The member of that name; missing when this is no object or has none.
  Value operator[](const char* name) const {
    if (!is_object()) return Value();
    for (Value one = first(); one.exists(); one = one.next())
      if (one.key() == Slice(name)) return one;
    return Value();
  }

 private:
  const Node& node() const { return nodes_[index_]; }
  const Node* nodes_ = nullptr;
  const char* text_ = nullptr;
  uint16_t index_ = 0;
};

// Room for one document: `Nodes` values, and `Bytes` of keys and texts (a number needs its own digits for a moment).
template <size_t Nodes, size_t Bytes>
class Document {
  static_assert(Nodes > 0 && Nodes < 65535 && Bytes < 65535, "positions have 16 bits");

 public:
  static constexpr uint8_t DEPTH = 8;

  Problem parse(Slice input) {
    problem_ = Parser(input, nodes_, Nodes, text_, Bytes, DEPTH).run();
    return problem_;
  }
  // Missing when the last document was refused.
  Value root() const { return problem_ == Problem::none ? Value(nodes_, text_, 0) : Value(); }

 private:
  Node nodes_[Nodes];
  char text_[Bytes] = {0};
  Problem problem_ = Problem::syntax;
};

}  // namespace json
}  // namespace relevo
