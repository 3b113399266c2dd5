#include "examples/serve/server.h"

#include <chrono>
#include <utility>

#include "examples/serve/answer.h"
#include "examples/serve/authorization.h"
#include "examples/serve/tokenizer_paths.h"

namespace serve {
namespace {

void set_json(httplib::Response& response, const Json& value) {
  response.set_content(text_of(value) + "\n", "application/json");
}

}  // namespace

Server::Server(const ServeOptions& options)
    : options_(options),
      http_(
          options.http, [this](const Request& request) { admit(request); },
          [this](const Request& request, int status) {
            // What is no path of ours must not grow the list without end.
            metrics_.add_answer(status == 404 || request.path.empty() ? "other" : request.path,
                                status);
          }) {
  add_paths();
}

void Server::set_model(std::shared_ptr<const ServedModel> model) {
  const std::lock_guard lock(mutex_);
  model_ = std::move(model);
}

std::shared_ptr<const ServedModel> Server::model() const {
  const std::lock_guard lock(mutex_);
  if (!model_) throw ApiError(503, "the model is being loaded", "", "loading");
  return model_;
}

// Everything but /health needs a key, where there are keys.
void Server::admit(const Request& request) const {
  if (request.path == "/health") return;
  if (!is_authorized(request.get_header_value("Authorization"), options_.api_keys))
    throw ApiError(401, "want an Authorization header with a valid key", "", "invalid_api_key");
  if (request.path == "/metrics") return;
  if (stopping_) throw ApiError(503, "the server is stopping", "", "stopping");
  static_cast<void>(model());
}

void Server::health(Response& response) const {
  if (stopping_) throw ApiError(503, "the server is stopping", "", "stopping");
  static_cast<void>(model());
  set_json(response, {{"status", "ok"}});
}

void Server::models(Response& response) const {
  const auto served = model();
  const Json one = {{"id", served->name},
                    {"object", "model"},
                    {"created", served->created},
                    {"owned_by", "libslice"},
                    {"max_model_len", served->capacity}};
  set_json(response, {{"object", "list"}, {"data", Json::array({one})}});
}

void Server::generate(const Request& request, Response& response, bool chat) {
  const auto served = model();
  const Json body = parse_body(request.body);
  Call call = chat ? read_chat(body, *served) : read_completion(body, *served);
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(options_.request_seconds);
  for (slice::Request& one : call.requests) one.deadline = deadline;
  answer(std::move(call), *served, metrics_, response);
}

void Server::add_paths() {
  http_.on("GET", "/health", [this](const Request&, Response& r) { health(r); });
  http_.on("GET", "/v1/models", [this](const Request&, Response& r) { models(r); });
  http_.on("GET", "/metrics", [this](const Request&, Response& response) {
    const auto served = model();
    response.set_content(metrics_.text(served->engine->statistics(), served->name),
                         "text/plain; version=0.0.4");
  });
  http_.on("GET", "/tokenizer_info",
           [this](const Request&, Response& r) { set_json(r, tokenizer_info(*model())); });
  http_.on("POST", "/tokenize", [this](const Request& request, Response& r) {
    set_json(r, tokenize(parse_body(request.body), *model()));
  });
  http_.on("POST", "/detokenize", [this](const Request& request, Response& r) {
    set_json(r, detokenize(parse_body(request.body), *model()));
  });
  http_.on("POST", "/v1/completions",
           [this](const Request& request, Response& r) { generate(request, r, false); });
  http_.on("POST", "/v1/chat/completions",
           [this](const Request& request, Response& r) { generate(request, r, true); });
}

}  // namespace serve
