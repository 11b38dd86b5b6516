// Topics and identities of contract autocore (sections 2 and 4).
#pragma once

#include "text.h"

namespace relevo {

constexpr size_t UUID_MOST = 36;
constexpr size_t PREFIX_MOST = 31;
constexpr size_t TOPIC_MOST = 128;
using Topic = Text<TOPIC_MOST>;

// 1 to 36 of letters, digits and `_.:-`; it need not be a UUID of an RFC.
inline bool valid_uuid(Slice uuid) {
  if (uuid.empty() || uuid.size > UUID_MOST) return false;
  for (size_t i = 0; i < uuid.size; i++) {
    const char letter = lower(uuid.data[i]);
    if (!is_digit(letter) && !(letter >= 'a' && letter <= 'z') && !memchr("_.:-", letter, 4)) return false;
  }
  return true;
}

// The board's identity from its MAC address; the last three bytes stand at the end.
inline Text<UUID_MOST> uuid_of(const uint8_t (&mac)[6]) {
  Text<UUID_MOST> uuid;
  uuid.format("550e8400-e29b-41d4-a716-%02x%02x%02x", mac[3], mac[4], mac[5]);
  return uuid;
}

inline Text<17> mac_text(const uint8_t (&mac)[6]) {
  Text<17> text;
  text.format("%02X:%02X:%02X:%02X:%02X:%02X", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  return text;
}

// `{prefix}/devices/{uuid}/{channel}`; empty when that is too long.
inline Topic device_topic(Slice prefix, Slice uuid, Slice channel) {
  Topic topic;
  if (!(topic.assign(prefix) && topic.append("/devices/") && topic.append(uuid) && topic.append("/") &&
        topic.append(channel)))
    topic.clear();
  return topic;
}

// What may be published to: not empty, no wildcard.
inline bool valid_topic(Slice topic) {
  if (topic.empty() || topic.size > TOPIC_MOST) return false;
  for (size_t i = 0; i < topic.size; i++)
    if (topic.data[i] == '+' || topic.data[i] == '#' || static_cast<unsigned char>(topic.data[i]) < 0x20) return false;
  return true;
}

}  // namespace relevo
