#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstdint>

#include "examples/serve/options.h"

namespace serve {

/// One client's socket, with limits in bytes and in time. Used by the thread that serves it.
class Connection final : public httplib::Stream {
 public:
  /// @param stopping  once true, nothing waits for the client any more
  Connection(int socket, const HttpLimits& limits, const std::atomic<bool>& stopping)
      : socket_(socket), limits_(limits), stopping_(stopping) {}

  /// Waits for the first byte of a request. @return  false: none came
  bool wait_for_request();
  /// The headers are there; from now on the limit of the body counts.
  void begin_body() {
    in_body_ = true;
    left_ = limits_.body_bytes + kFraming;
  }
  bool in_body() const { return in_body_; }
  /// The request was read whole, so another may follow.
  void set_whole() { whole_ = true; }
  bool whole() const { return whole_; }
  /// Why reading failed: more than the limits allow in bytes, or in time.
  bool is_too_large() const { return too_large_; }
  bool is_too_slow() const { return too_slow_; }
  bool is_cut() const { return stopping_; }
  /// Whether the client has closed its side, or is not there any more.
  bool is_gone() const;
  /// Sends what is left and closes. What the client still sends is read for a moment, so that it
  /// gets the answer rather than a reset.
  void close();

  bool is_readable() const override { return true; }
  bool is_writable() const override;
  ssize_t read(char* data, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  /// What chunks need beside their bytes.
  static constexpr int64_t kFraming = 4096;

  int wait(short event, Clock::time_point until) const;
  ssize_t fill();

  int socket_;
  const HttpLimits& limits_;
  const std::atomic<bool>& stopping_;
  Clock::time_point until_ = {};
  int64_t left_ = 0;
  bool in_body_ = false, whole_ = false, too_large_ = false, too_slow_ = false;
  std::string buffer_ = std::string(16384, '\0');
  size_t begin_ = 0, end_ = 0;  // of what is in the buffer
};

/// The connection that this thread serves; null on others.
Connection*& current_connection();

}  // namespace serve
