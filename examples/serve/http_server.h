#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "examples/serve/options.h"

namespace serve {

class Connection;

/// cpp-httplib's server with bounds: of bytes, of time, and of connections, of which each has a
/// thread, so that a slow reader stops nobody. One that comes when all are taken is answered 503 at
/// once.
class HttpServer final : public httplib::Server {
 public:
  using Respond = std::function<void(const httplib::Request&, httplib::Response&)>;
  /// Asked before the body is read. @throws ApiError  the answer, after which the connection closes
  using Admit = std::function<void(const httplib::Request&)>;
  /// Told of every answer.
  using OnAnswer = std::function<void(const httplib::Request&, int status)>;

  HttpServer(const HttpLimits& limits, Admit admit, OnAnswer on_answer);

  /// @param respond  what it throws is the answer: to_api_error
  void on(const std::string& method, const std::string& path, Respond respond);
  /// @return  the port    @throws slice::Error  the address cannot be had
  int bind(const std::string& host, int port);
  /// Serves until stop().
  void run();
  /// Waits until the answers to requests that have begun are sent. @return  false: the time was up
  bool wait_for_answers(std::chrono::milliseconds timeout);
  /// No connection is taken any more, all that wait for their client close, and run() returns.
  void stop();

 private:
  bool process_and_close_socket(socket_t socket) override;
  void answer_requests(Connection& connection);
  void check(const httplib::Request& request) const;
  static void answer_error(httplib::Response& response);

  HttpLimits limits_;
  Admit admit_;
  std::map<std::string, std::set<std::string>> methods_;  // of each path
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> answering_{0};  // requests that were read whole
};

}  // namespace serve
