#pragma once

#include <optional>
#include <string>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

struct JsonOptions {
  bool ascii_only = false;
  std::optional<std::string> indent = {};  ///< one level of it
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};

/// The result of Python's json.dumps. @throws Failure  not a value of JSON
std::string to_json(const Value& value, const JsonOptions& options, Meter& meter);

}  // namespace slice::detail::jinja
