#include "examples/serve/api_error.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "examples/first_line.h"
#include "libslice/base/error.h"
#include "libslice/decode/request.h"

namespace serve {
namespace {

using Json = nlohmann::ordered_json;

const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

ApiError::ApiError(int status, const std::string& message, std::string param, std::string code)
    : std::runtime_error(message),
      status_(status),
      param_(std::move(param)),
      code_(std::move(code)) {}

std::optional<int> ApiError::retry_after() const {
  return status_ == 429 ? std::optional(1) : status_ == 503 ? std::optional(5) : std::nullopt;
}

std::string ApiError::json() const {
  const Json error = {{"message", what()},
                      {"type", type_of(status_)},
                      {"param", or_null(param_)},
                      {"code", or_null(code_)}};
  // A message may quote what came, cut within a character.
  return Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void refuse(const std::string& field, const std::string& why) {
  throw ApiError(400, field + ": " + why, field);
}

ApiError to_api_error(const std::exception& error) {
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) return *api;
  if (dynamic_cast<const slice::QueueFull*>(&error)) {
    return ApiError(429, "too many requests are waiting, try again later", "", "queue_full");
  }
  if (dynamic_cast<const slice::EngineClosed*>(&error)) {
    return ApiError(503, "the server takes no further requests", "", "stopping");
  }
  const bool of_request = dynamic_cast<const slice::ArgumentError*>(&error) ||
                          dynamic_cast<const slice::FormatError*>(&error);
  return ApiError(of_request ? 400 : 500, cli::first_line(error.what()));
}

}  // namespace serve
