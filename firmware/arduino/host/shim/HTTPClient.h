// One request over a connection that ends with it.
#pragma once

#include <strings.h>

#include <map>
#include <vector>

#include "WiFiClient.h"

constexpr int HTTPC_ERROR_CONNECTION_REFUSED = -1;
constexpr int HTTPC_ERROR_READ_TIMEOUT = -11;

class HTTPClient {
 public:
  bool begin(WiFiClient& client, const char* url) {
    client_ = &client;
    sent_.clear();
    const std::string text = url;
    const size_t mark = text.find("://");
    if (mark == std::string::npos) return false;
    const bool secure = text.substr(0, mark) == "https";
    const size_t slash = text.find('/', mark + 3);
    place_ = text.substr(mark + 3, slash == std::string::npos ? std::string::npos : slash - mark - 3);
    path_ = slash == std::string::npos ? "/" : text.substr(slash);
    const size_t colon = place_.find(':');
    host_ = place_.substr(0, colon);
    port_ = static_cast<uint16_t>(colon == std::string::npos ? (secure ? 443 : 80) : atoi(place_.c_str() + colon + 1));
    return true;
  }
  void setTimeout(uint16_t ms) { timeout_ms_ = ms; }
  void setConnectTimeout(int32_t ms) { connect_ms_ = ms; }
  void setReuse(bool) {}
  void addHeader(const char* name, const char* value) { sent_ += std::string(name) + ": " + value + "\r\n"; }
  void collectHeaders(const char* names[], size_t count) { wanted_.assign(names, names + count); }
  String header(const char* name) { return found_.count(name) ? String(found_[name]) : String(); }
  int GET() { return request("GET", nullptr, 0); }
  int POST(uint8_t* body, size_t size) { return request("POST", body, size); }
  int getSize() { return size_; }
  WiFiClient& getStream() { return *client_; }
  void end() {
    if (client_) client_->stop();
  }

 private:
  int request(const char* method, const uint8_t* body, size_t size) {
    found_.clear();
    size_ = -1;
    if (!client_->connect(host_.c_str(), port_, connect_ms_)) return HTTPC_ERROR_CONNECTION_REFUSED;
    client_->setTimeout(timeout_ms_);
    std::string message = std::string(method) + " " + path_ + " HTTP/1.1\r\nHost: " + place_ +
                          "\r\nConnection: close\r\nUser-Agent: ESP32HTTPClient\r\n" + sent_;
    if (body) message += "Content-Length: " + std::to_string(size) + "\r\n";
    message += "\r\n";
    if (body) message.append(reinterpret_cast<const char*>(body), size);
    client_->write(reinterpret_cast<const uint8_t*>(message.data()), message.size());
    int status = 0;
    std::string line;
    for (int lines = 0; lines < 64; lines++) {
      if (!read_line(line)) return HTTPC_ERROR_READ_TIMEOUT;
      if (line.empty()) break;
      if (!lines) {
        sscanf(line.c_str(), "HTTP/%*s %d", &status);
        continue;
      }
      const size_t colon = line.find(':');
      if (colon == std::string::npos) continue;
      const std::string name = line.substr(0, colon), value = line.substr(line.find_first_not_of(' ', colon + 1));
      if (strcasecmp(name.c_str(), "content-length") == 0) size_ = atoi(value.c_str());
      for (const std::string& one : wanted_)
        if (strcasecmp(name.c_str(), one.c_str()) == 0) found_[one] = value;
    }
    return status;
  }
  bool read_line(std::string& line) {
    line.clear();
    uint8_t letter = 0;
    while (client_->readBytes(&letter, 1) == 1) {
      if (letter == '\n') return true;
      if (letter != '\r') line += static_cast<char>(letter);
      if (line.size() > 4096) return false;
    }
    return false;
  }

  WiFiClient* client_ = nullptr;
  std::string host_, place_, path_, sent_;
  std::vector<std::string> wanted_;
  std::map<std::string, std::string> found_;
  uint16_t port_ = 80, timeout_ms_ = 5000;
  int32_t connect_ms_ = 5000;
  int size_ = -1;
};
