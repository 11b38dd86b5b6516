// What was answered to the last sixteen commands with an identifier: one that comes again, also after a reset, gets the
// same answer and is not executed again.
//
// An answer is remembered before its command is carried out. A reset between the two leaves a command undone that was
// answered, and never one that is done twice.
#pragma once

#include "text.h"

namespace relevo {

constexpr size_t COMMAND_ID_MOST = 64;
constexpr size_t ANSWER_MOST = 191;

// One result as it is kept, bytes and all.
struct Result {
  // 1 for the first ever; 0 for a place that is empty.
  uint32_t order = 0;
  Text<COMMAND_ID_MOST> id;
  Text<ANSWER_MOST> answer;
};

template <size_t Capacity = 16>
class Ledger {
 public:
  // Null for a command that is new.
  const Result* find(Slice id) const {
    if (id.empty()) return nullptr;
    for (const Result& one : results_)
      if (one.order && one.id.slice() == id) return &one;
    return nullptr;
  }

  // The place in which it is remembered, to be stored; -1 when identifier or answer are too long. Forgets the oldest.
  int remember(Slice id, Slice answer) {
    if (id.empty() || id.size > COMMAND_ID_MOST || answer.size > ANSWER_MOST) return -1;
    int place = 0;
    for (size_t i = 0; i < Capacity; i++)
      if (results_[i].order < results_[place].order) place = static_cast<int>(i);
    results_[place].order = ++last_;
    results_[place].id.assign(id);
    results_[place].answer.assign(answer);
    return place;
  }

  const Result& at(size_t place) const { return results_[place]; }

  // Put back what was stored for a place; whatever it cannot be leaves the place empty.
  bool restore(size_t place, uint32_t order, Slice id, Slice answer) {
    if (place >= Capacity || !order || id.empty() || id.size > COMMAND_ID_MOST || answer.size > ANSWER_MOST)
      return false;
    results_[place].order = order;
    results_[place].id.assign(id);
    results_[place].answer.assign(answer);
    if (order > last_) last_ = order;
    return true;
  }

  static constexpr size_t capacity() { return Capacity; }

 private:
  Result results_[Capacity];
  uint32_t last_ = 0;
};

// A result as bytes: its order (4, little-endian), the length of its identifier (1), identifier, answer.
constexpr size_t STORED_RESULT_MOST = 5 + COMMAND_ID_MOST + ANSWER_MOST;

inline size_t encode(const Result& result, uint8_t (&out)[STORED_RESULT_MOST]) {
  for (int i = 0; i < 4; i++) out[i] = static_cast<uint8_t>(result.order >> (8 * i));
  out[4] = static_cast<uint8_t>(result.id.size());
  memcpy(out + 5, result.id.c_str(), result.id.size());
  memcpy(out + 5 + result.id.size(), result.answer.c_str(), result.answer.size());
  return 5 + result.id.size() + result.answer.size();
}

// False for bytes that are no result.
template <size_t Capacity>
bool restore(Ledger<Capacity>& ledger, size_t place, const uint8_t* bytes, size_t size) {
  if (size < 5 || size > STORED_RESULT_MOST || size < 5u + bytes[4]) return false;
  uint32_t order = 0;
  for (int i = 0; i < 4; i++) order |= static_cast<uint32_t>(bytes[i]) << (8 * i);
  const char* id = reinterpret_cast<const char*>(bytes + 5);
  return ledger.restore(place, order, Slice(id, bytes[4]), Slice(id + bytes[4], size - 5 - bytes[4]));
}

}  // namespace relevo
