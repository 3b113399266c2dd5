#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "examples/serve/http_server.h"
#include "examples/serve/metrics.h"
#include "examples/serve/options.h"
#include "examples/serve/served_model.h"

namespace serve {

/// The paths of the server over one model. It answers from the beginning, with 503 until the model
/// is there, and with 503 again once it is stopping.
class Server {
 public:
  explicit Server(const ServeOptions& options);

  HttpServer& http() { return http_; }
  /// The model is there.
  void set_model(std::shared_ptr<const ServedModel> model);
  /// New requests are answered 503.
  void set_stopping() { stopping_ = true; }

 private:
  using Request = httplib::Request;
  using Response = httplib::Response;

  void add_paths();
  void admit(const Request& request) const;
  /// @throws ApiError  503: it is not there yet
  std::shared_ptr<const ServedModel> model() const;
  void health(Response& response) const;
  void models(Response& response) const;
  void generate(const Request& request, Response& response, bool chat);

  const ServeOptions& options_;
  Metrics metrics_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ServedModel> model_;
  std::atomic<bool> stopping_{false};
  HttpServer http_;  // last: its threads use the rest
};

}  // namespace serve
