#pragma once

#include <optional>
#include <stdexcept>
#include <string>

namespace serve {

/// What a client is told instead of an answer, in OpenAI's form:
/// {"error": {"message": …, "type": …, "param": …, "code": …}}.
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& message, std::string param = "", std::string code = "");

  int status() const { return status_; }
  /// Retry-After, in seconds.
  std::optional<int> retry_after() const;
  /// The body.
  std::string json() const;

 private:
  int status_;
  std::string param_, code_;
};

/// 400, of a field of the request: "max_tokens", "messages[1].content" …
[[noreturn]] void refuse(const std::string& field, const std::string& why);

/// The answer to an exception of any kind: those of the library that speak of the request are 400,
/// QueueFull 429, EngineClosed 503, others 500.
ApiError to_api_error(const std::exception& error);

}  // namespace serve
