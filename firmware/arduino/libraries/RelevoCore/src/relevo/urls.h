// Addresses of a server, and whether plain HTTP may be spoken to them (contract thingsnxt, section 8).
#pragma once

#include "text.h"

namespace relevo {

constexpr size_t URL_MOST = 200;

// `http://HOST[:PORT][/path]` or https; without user name, white space and what stands behind ? or #.
struct Url {
  bool secure = false;
  Slice host;
  long port = 80;

  // False when `text` is none.
  bool parse(Slice text) {
    if (text.size > URL_MOST) return false;
    for (size_t i = 0; i < text.size; i++)
      if (static_cast<unsigned char>(text.data[i]) <= ' ' || static_cast<unsigned char>(text.data[i]) > '~' ||
          memchr("@?#\"\\", text.data[i], 5))
        return false;
    size_t begin = 0;
    if (text.size > 8 && same_ignoring_case(Slice(text.data, 8), "https://")) begin = 8, secure = true;
    else if (text.size > 7 && same_ignoring_case(Slice(text.data, 7), "http://")) begin = 7, secure = false;
    else return false;
    size_t stop = begin;
    while (stop < text.size && text.data[stop] != '/') stop++;
    Slice place(text.data + begin, stop - begin);
    port = secure ? 443 : 80;
    for (size_t i = 0; i < place.size; i++) {
      if (place.data[i] != ':') continue;
      if (!parse_whole(Slice(place.data + i + 1, place.size - i - 1), 1, 65535, port)) return false;
      place.size = i;
      break;
    }
    host = place;
    return !host.empty();
  }
};

// Whether `host` is an IPv4 address of a private network, of the machine itself or of a link; a name is not.
inline bool is_private(Slice host) {
  long part[4] = {0, 0, 0, 0};
  size_t at = 0;
  for (int i = 0; i < 4; i++) {
    size_t stop = at;
    while (stop < host.size && host.data[stop] != '.') stop++;
    if (stop - at > 3 || !parse_whole(Slice(host.data + at, stop - at), 0, 255, part[i])) return false;
    if ((i < 3) != (stop < host.size)) return false;
    at = stop + 1;
  }
  return part[0] == 10 || part[0] == 127 || (part[0] == 172 && part[1] >= 16 && part[1] < 32) ||
         (part[0] == 192 && part[1] == 168) || (part[0] == 169 && part[1] == 254);
}

// Whether requests may go there: always with TLS, without it on private addresses alone.
inline bool may_be_asked(Slice url, bool plain_everywhere) {
  Url parsed;
  return parsed.parse(url) && (parsed.secure || plain_everywhere || is_private(parsed.host));
}

}  // namespace relevo
