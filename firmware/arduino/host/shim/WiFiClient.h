// A TCP connection over a real socket, as WiFiClient has it.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "Arduino.h"

class Client : public Print {
 public:
  virtual int connect(const char* host, uint16_t port) = 0;
  virtual int connect(const char* host, uint16_t port, int32_t timeout_ms) = 0;
  virtual int available() = 0;
  virtual int read(uint8_t* bytes, size_t size) = 0;
  virtual uint8_t connected() = 0;
  virtual void stop() = 0;
  virtual void setTimeout(uint32_t) {}
};

class WiFiClient : public Client {
 public:
  WiFiClient() = default;
  explicit WiFiClient(int socket) : socket_(socket) {}
  WiFiClient(const WiFiClient&) = delete;
  WiFiClient& operator=(const WiFiClient&) = delete;
  ~WiFiClient() override { stop(); }

  int connect(const char* host, uint16_t port) override { return connect(host, port, 3000); }
  int connect(const char* host, uint16_t port, int32_t timeout_ms) override {
    stop();
    if (!shim::network()) return 0;
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, std::to_string(port).c_str(), &hints, &found) != 0) return 0;
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int began = ::connect(socket_, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    pollfd ready{socket_, POLLOUT, 0};
    int problem = 0;
    socklen_t size = sizeof problem;
    if ((began != 0 && errno != EINPROGRESS) || poll(&ready, 1, timeout_ms) != 1 ||
        getsockopt(socket_, SOL_SOCKET, SO_ERROR, &problem, &size) != 0 || problem) {
      stop();
      return 0;
    }
    const int yes = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return 1;
  }

  size_t write(const uint8_t* bytes, size_t size) override {
    size_t sent = 0;
    while (socket_ >= 0 && sent < size) {
      pollfd ready{socket_, POLLOUT, 0};
      const ssize_t count = poll(&ready, 1, 1000) == 1 ? send(socket_, bytes + sent, size - sent, MSG_NOSIGNAL) : -1;
      if (count <= 0) break;
      sent += static_cast<size_t>(count);
    }
    return sent;
  }

  int available() override {
    char bytes[2048];
    const ssize_t count = socket_ < 0 ? 0 : recv(socket_, bytes, sizeof bytes, MSG_PEEK);
    return count > 0 ? static_cast<int>(count) : 0;
  }
  int read(uint8_t* bytes, size_t size) override {
    return socket_ < 0 ? -1 : static_cast<int>(recv(socket_, bytes, size, 0));
  }
  uint8_t connected() override {
    if (socket_ < 0 || !shim::network()) return 0;
    char one;
    const ssize_t count = recv(socket_, &one, 1, MSG_PEEK);
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
  }
  void stop() override {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }

  // As Stream has it: up to so many bytes within the timeout.
  size_t readBytes(uint8_t* bytes, size_t size) {
    size_t got = 0;
    const uint64_t end = shim::real_ms() + timeout_ms_;
    while (got < size && wait(end)) {
      const int count = read(bytes + got, size - got);
      if (count <= 0) break;
      got += static_cast<size_t>(count);
    }
    return got;
  }
  void setTimeout(uint32_t ms) override { timeout_ms_ = ms; }

 private:
  bool wait(uint64_t end_ms) {
    const uint64_t now = shim::real_ms();
    pollfd ready{socket_, POLLIN, 0};
    return socket_ >= 0 && now < end_ms && poll(&ready, 1, static_cast<int>(end_ms - now)) == 1;
  }

  int socket_ = -1;
  uint32_t timeout_ms_ = 1000;
};
