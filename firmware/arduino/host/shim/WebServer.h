// One request at a time on SHIM_WEB_PORT; without that nobody listens.
#pragma once

#include <strings.h>

#include <map>
#include <vector>

#include "WiFiClient.h"

enum HTTPMethod { HTTP_ANY, HTTP_GET, HTTP_POST };

class WebServer {
 public:
  explicit WebServer(int = 80) {}
  ~WebServer() {
    if (listening_ >= 0) close(listening_);
  }
  void on(const char* path, HTTPMethod method, std::function<void()> handler) {
    routes_.push_back({path, method, handler});
  }
  void onNotFound(std::function<void()> handler) { otherwise_ = handler; }
  void begin() {
    const int port = atoi(shim::environment("SHIM_WEB_PORT", "0"));
    if (!port || listening_ >= 0) return;
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int yes = 1;
    setsockopt(listening_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(static_cast<uint16_t>(port));
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listening_, reinterpret_cast<sockaddr*>(&place), sizeof place) != 0 || listen(listening_, 4) != 0) abort();
  }
  void handleClient() {
    const int found = listening_ < 0 ? -1 : accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK);
    if (found < 0) return;
    WiFiClient client(found);
    client_ = &client;
    client.setTimeout(1000);
    std::string head, body;
    uint8_t letter = 0;
    while (head.size() < 4096 && head.find("\r\n\r\n") == std::string::npos && client.readBytes(&letter, 1) == 1)
      head += static_cast<char>(letter);
    const size_t length = static_cast<size_t>(atoi(value_of(head, "Content-Length: ").c_str()));
    authorization_ = value_of(head, "Authorization: ");
    while (body.size() < length && body.size() < 8192 && client.readBytes(&letter, 1) == 1)
      body += static_cast<char>(letter);
    arguments_.clear();
    for (size_t at = 0; at < body.size();) {
      const size_t stop = std::min(body.find('&', at), body.size()), mark = std::min(body.find('=', at), stop);
      arguments_[decoded(body.substr(at, mark - at))] =
          decoded(mark < stop ? body.substr(mark + 1, stop - mark - 1) : "");
      at = stop + 1;
    }
    const std::string method = head.substr(0, head.find(' '));
    const size_t begin = head.find(' ') + 1;
    std::string path = head.substr(begin, head.find(' ', begin) - begin);
    path = path.substr(0, path.find('?'));
    dispatch(method == "POST" ? HTTP_POST : HTTP_GET, path);
    client_ = nullptr;
  }
  bool hasArg(const char* name) { return arguments_.count(name) != 0; }
  String arg(const char* name) { return arguments_.count(name) ? String(arguments_[name]) : String(); }
  bool authenticate(const char* user, const char* password) {
    return authorization_ == "Basic " + base64(std::string(user) + ":" + password);
  }
  void requestAuthentication() {
    answer(401, "text/plain", "unauthorized", "WWW-Authenticate: Basic realm=\"Login Required\"\r\n");
  }
  void sendHeader(const char* name, const char* value) { extra_ += std::string(name) + ": " + value + "\r\n"; }
  void send(int status, const char* kind, const char* text) { answer(status, kind, text, ""); }

 private:
  struct Route {
    std::string path;
    HTTPMethod method;
    std::function<void()> handler;
  };
  void dispatch(HTTPMethod method, const std::string& path) {
    for (const Route& one : routes_)
      if (one.path == path && (one.method == HTTP_ANY || one.method == method)) return one.handler();
    if (otherwise_) otherwise_();
  }
  void answer(int status, const char* kind, const std::string& text, const std::string& more) {
    const std::string message = "HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Type: " + kind +
                                "\r\nContent-Length: " + std::to_string(text.size()) + "\r\n" + more + extra_ +
                                "Connection: close\r\n\r\n" + text;
    extra_.clear();
    client_->write(reinterpret_cast<const uint8_t*>(message.data()), message.size());
  }
  static std::string value_of(const std::string& head, const std::string& name) {
    for (size_t at = 0; at + name.size() < head.size(); at++)
      if (strncasecmp(head.c_str() + at, name.c_str(), name.size()) == 0)
        return head.substr(at + name.size(), head.find('\r', at) - at - name.size());
    return "";
  }
  static std::string decoded(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
      if (text[i] == '%' && i + 2 < text.size())
        out += static_cast<char>(strtol(text.substr(i + 1, 2).c_str(), nullptr, 16)), i += 2;
      else out += text[i] == '+' ? ' ' : text[i];
    }
    return out;
  }
  static std::string base64(const std::string& text) {
    static const char* const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < text.size(); i += 3) {
      uint32_t bits = 0;
      for (size_t k = 0; k < 3; k++) bits = bits << 8 | (i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : 0);
      for (size_t k = 0; k < 4; k++) out += i + k > text.size() ? '=' : letters[bits >> (18 - 6 * k) & 63];
    }
    return out;
  }

  std::vector<Route> routes_;
  std::function<void()> otherwise_;
  std::map<std::string, std::string> arguments_;
  std::string authorization_, extra_;
  WiFiClient* client_ = nullptr;
  int listening_ = -1;
};
