// What reads JSON (json.h tells what it refuses): a document to nodes and texts in memory that the caller has.
#pragma once

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "text.h"

namespace relevo {
namespace json {

enum class Kind : uint8_t { missing, null, boolean, integer, number, text, list, object };
enum class Problem : uint8_t { none, syntax, trailing, depth, room, number, text, duplicate };

inline const char* name_of(Problem problem) {
  static const char* const names[] = {"none", "syntax", "trailing", "depth", "room", "number", "text", "duplicate"};
  return names[static_cast<uint8_t>(problem)];
}

struct Node {
  Kind kind = Kind::missing;
  uint16_t key = 0, key_size = 0;
  // Of the same list or object; 0 is the root and so nobody's sibling.
  uint16_t next = 0;
  union {
    bool boolean;
    int64_t integer;
    double number;
    struct {
      uint16_t first, size;
    } part;
  };
  Node() : integer(0) {}
};

class Parser {
 public:
  Parser(Slice input, Node* nodes, size_t nodes_most, char* text, size_t text_most, uint8_t depth_most)
      : at_(input.data),
        end_(input.data + input.size),
        nodes_(nodes),
        nodes_most_(nodes_most),
        text_(text),
        text_most_(text_most),
        depth_most_(depth_most) {}

  Problem run() {
    uint16_t root = 0;
    skip();
    if (!value(0, root)) return problem_;
    skip();
    return at_ == end_ ? Problem::none : Problem::trailing;
  }

 private:
  bool fail(Problem problem) {
    problem_ = problem;
    return false;
  }
  void skip() {
    while (at_ < end_ && is_space(*at_)) at_++;
  }
  bool take(char letter) {
    if (at_ == end_ || *at_ != letter) return false;
    at_++;
    return true;
  }
  bool literal(const char* wanted) {
    const size_t size = strlen(wanted);
    if (static_cast<size_t>(end_ - at_) < size || memcmp(at_, wanted, size) != 0) return fail(Problem::syntax);
    at_ += size;
    return true;
  }
  bool put(char letter) {
    if (text_used_ >= text_most_) return fail(Problem::room);
    text_[text_used_++] = letter;
    return true;
  }

  bool value(uint8_t depth, uint16_t& index) {
    if (nodes_used_ >= nodes_most_) return fail(Problem::room);
    index = static_cast<uint16_t>(nodes_used_++);
    nodes_[index] = Node();
    if (at_ == end_) return fail(Problem::syntax);
    Node& node = nodes_[index];
    switch (*at_) {
      case 'n':
        node.kind = Kind::null;
        return literal("null");
      case 't':
      case 'f':
        node.kind = Kind::boolean;
        node.boolean = *at_ == 't';
        return literal(node.boolean ? "true" : "false");
      case '"':
        node.kind = Kind::text;
        return text(node.part.first, node.part.size);
      case '[':
      case '{':
        return members(depth + 1, index);
      default:
        return number(node);
    }
  }

  bool members(uint8_t depth, uint16_t index) {
    if (depth > depth_most_) return fail(Problem::depth);
    const bool keyed = *at_++ == '{';
    const char close = keyed ? '}' : ']';
    nodes_[index].kind = keyed ? Kind::object : Kind::list;
    nodes_[index].part = {0, 0};
    uint16_t last = 0;
    skip();
    if (take(close)) return true;
    for (;;) {
      uint16_t key = 0, key_size = 0, one = 0;
      skip();
      if (keyed) {
        if (at_ == end_ || *at_ != '"') return fail(Problem::syntax);
        if (!text(key, key_size)) return false;
        for (uint16_t other = nodes_[index].part.first; other; other = nodes_[other].next)
          if (Slice(text_ + nodes_[other].key, nodes_[other].key_size) == Slice(text_ + key, key_size))
            return fail(Problem::duplicate);
        skip();
        if (!take(':')) return fail(Problem::syntax);
        skip();
      }
      if (!value(depth, one)) return false;
      nodes_[one].key = key;
      nodes_[one].key_size = key_size;
      if (last) nodes_[last].next = one;
      else nodes_[index].part.first = one;
      last = one;
      nodes_[index].part.size++;
      skip();
      if (take(close)) return true;
      if (!take(',')) return fail(Problem::syntax);
    }
  }

  bool number(Node& node) {
    const char* begin = at_;
    take('-');
    if (take('0')) {
      // Nothing follows a leading nought but a fraction or an exponent.
    } else if (!digits()) {
      return fail(Problem::syntax);
    }
    bool whole = true;
    if (take('.')) {
      whole = false;
      if (!digits()) return fail(Problem::syntax);
    }
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      whole = false;
      at_++;
      if (!take('+')) take('-');
      if (!digits()) return fail(Problem::syntax);
    }
    const size_t size = static_cast<size_t>(at_ - begin);
    // strtod wants a NUL; the room behind the texts is free at the moment.
    if (size + 1 > text_most_ - text_used_) return fail(Problem::room);
    char* copy = text_ + text_used_;
    memcpy(copy, begin, size);
    copy[size] = 0;
    if (whole) {
      errno = 0;
      const long long exact = strtoll(copy, nullptr, 10);
      if (errno == 0) {
        node.kind = Kind::integer;
        node.integer = exact;
        return true;
      }
    }
    const double found = strtod(copy, nullptr);
    if (!isfinite(found)) return fail(Problem::number);
    node.kind = Kind::number;
    node.number = found;
    return true;
  }

  bool digits() {
    const char* begin = at_;
    while (at_ < end_ && is_digit(*at_)) at_++;
    return at_ > begin;
  }

  bool text(uint16_t& first, uint16_t& size) {
    const size_t begin = text_used_;
    at_++;
    for (;;) {
      if (at_ == end_) return fail(Problem::syntax);
      const unsigned char letter = static_cast<unsigned char>(*at_);
      if (letter == '"') break;
      if (letter < 0x20) return fail(Problem::syntax);
      if (letter == '\\') {
        if (!escape()) return false;
      } else if (letter < 0x80) {
        at_++;
        if (!put(static_cast<char>(letter))) return false;
      } else if (!several(letter)) {
        return false;
      }
    }
    at_++;
    first = static_cast<uint16_t>(begin);
    size = static_cast<uint16_t>(text_used_ - begin);
    return true;
  }

  // A character of two to four bytes: no longer than it need be, no surrogate, nothing above U+10FFFF.
  bool several(unsigned char lead) {
    const int more = lead >= 0xC2 && lead <= 0xDF   ? 1
                     : (lead & 0xF0) == 0xE0        ? 2
                     : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                    : 0;
    if (!more || end_ - at_ <= more) return fail(Problem::text);
    const unsigned char second = static_cast<unsigned char>(at_[1]);
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
        (lead == 0xF4 && second > 0x8F))
      return fail(Problem::text);
    for (int i = 0; i <= more; i++) {
      if (i && (static_cast<unsigned char>(at_[i]) & 0xC0) != 0x80) return fail(Problem::text);
      if (!put(at_[i])) return false;
    }
    at_ += more + 1;
    return true;
  }

  bool escape() {
    at_++;
    if (at_ == end_) return fail(Problem::syntax);
    const char letter = *at_++;
    switch (letter) {
      case '"':
      case '\\':
      case '/':
        return put(letter);
      case 'b':
        return put('\b');
      case 'f':
        return put('\f');
      case 'n':
        return put('\n');
      case 'r':
        return put('\r');
      case 't':
        return put('\t');
      case 'u':
        return unicode();
      default:
        return fail(Problem::syntax);
    }
  }

  bool unicode() {
    uint32_t code = 0;
    if (!four(code)) return false;
    if (code >= 0xDC00 && code <= 0xDFFF) return fail(Problem::text);
    if (code >= 0xD800 && code <= 0xDBFF) {
      uint32_t low = 0;
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return fail(Problem::text);
      at_ += 2;
      if (!four(low)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return fail(Problem::text);
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    // A NUL would end the text for everybody who takes it as a C string.
    if (code == 0) return fail(Problem::text);
    if (code < 0x80) return put(static_cast<char>(code));
    if (code < 0x800) return put(static_cast<char>(0xC0 | (code >> 6))) && tail(code, 0);
    if (code < 0x10000) return put(static_cast<char>(0xE0 | (code >> 12))) && tail(code, 6) && tail(code, 0);
    return put(static_cast<char>(0xF0 | (code >> 18))) && tail(code, 12) && tail(code, 6) && tail(code, 0);
  }

  bool tail(uint32_t code, int shift) { return put(static_cast<char>(0x80 | ((code >> shift) & 0x3F))); }

  bool four(uint32_t& out) {
    if (end_ - at_ < 4) return fail(Problem::syntax);
    for (int i = 0; i < 4; i++) {
      const char letter = lower(*at_++);
      if (is_digit(letter)) out = out * 16 + static_cast<uint32_t>(letter - '0');
      else if (letter >= 'a' && letter <= 'f') out = out * 16 + static_cast<uint32_t>(letter - 'a' + 10);
      else return fail(Problem::syntax);
    }
    return true;
  }

  const char* at_;
  const char* end_;
  Node* nodes_;
  size_t nodes_most_, nodes_used_ = 0;
  char* text_;
  size_t text_most_, text_used_ = 0;
  uint8_t depth_most_;
  Problem problem_ = Problem::none;
};

}  // namespace json
}  // namespace relevo
