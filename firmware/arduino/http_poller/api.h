// One request to the server. HTTPS checks the certificate; plain HTTP is for private addresses.
#pragma once

#include <HTTPClient.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>

#include "store.h"

struct Reply {
  // 0 when there was none.
  int status = 0;
  uint32_t retry_after_s = 0;
  // Good until the next request.
  relevo::Slice body;
};

class Api {
 public:
  explicit Api(const Store& store) : store_(store) {}

  // `body` null asks with GET. With `named` the token goes along, in a header: what stands in an address is written to
  // logs.
  Reply ask(const char* path, const relevo::Slice* body, bool named) {
    relevo::Text<relevo::URL_MOST + 64> url;
    if (!url.assign(store_.now.api_url) || !url.append(path)) return Reply();
    relevo::Url place;
    if (!place.parse(store_.now.api_url) || !relevo::may_be_asked(store_.now.api_url, PLAIN_HTTP)) {
      problem_ = "plain HTTP is for private addresses; use https";
      return Reply();
    }
    if (!place.secure) {
      WiFiClient client;
      return ask(client, url.c_str(), body, named);
    }
    if (!*ROOT_CA) {
      problem_ = "HTTPS needs the server's authority: set ROOT_CA in config.h";
      return Reply();
    }
    WiFiClientSecure client;
    client.setCACert(ROOT_CA);
    return ask(client, url.c_str(), body, named);
  }

  // Why the last request could not even be tried; empty when it was.
  const char* problem() const { return problem_; }

 private:
  static constexpr size_t ANSWER_BYTES = 4096;

  Reply ask(WiFiClient& client, const char* url, const relevo::Slice* body, bool named) {
    static char room[ANSWER_BYTES];
    static const char* const WANTED[] = {"Retry-After"};
    Reply reply;
    HTTPClient http;
    problem_ = "";
    http.setConnectTimeout(TIMEOUT_MS);
    http.setTimeout(TIMEOUT_MS);
    http.setReuse(false);
    if (!http.begin(client, url)) return reply;
    http.collectHeaders(const_cast<const char**>(WANTED), 1);
    if (named) http.addHeader("X-Device-Token", store_.now.device_token.c_str());
    if (body) http.addHeader("Content-Type", "application/json");
    const int status =
        body ? http.POST(reinterpret_cast<uint8_t*>(const_cast<char*>(body->data)), body->size) : http.GET();
    if (status > 0) {
      reply.status = status;
      long seconds = 0;
      if (relevo::parse_whole(relevo::Slice(http.header("Retry-After").c_str()), 1, 86400, seconds))
        reply.retry_after_s = static_cast<uint32_t>(seconds);
      const int size = http.getSize();
      if (size > 0 && static_cast<size_t>(size) <= sizeof room)
        reply.body = relevo::Slice(
            room, http.getStream().readBytes(reinterpret_cast<uint8_t*>(room), static_cast<size_t>(size)));
    }
    http.end();
    return reply;
  }

  const Store& store_;
  const char* problem_ = "";
};
