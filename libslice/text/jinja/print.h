#pragma once

#include <optional>
#include <string>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// The result of Python's str(); empty for undefined.
/// @throws Failure  a function or a namespace
std::string to_text(const Value& value, Meter& meter);

struct JsonOptions {
  bool ascii_only = false;
  std::optional<int64_t> indent = {};
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};

/// The result of Python's json.dumps. @throws Failure  not a value of JSON
std::string to_json(const Value& value, const JsonOptions& options, Meter& meter);

}  // namespace slice::detail::jinja
