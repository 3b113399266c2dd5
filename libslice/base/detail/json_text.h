#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace slice::detail {

/// JSON for a person to read: objects are indented by two, a list of numbers or words is one line,
/// and of a list of objects each is one. What is no UTF-8 becomes U+FFFD; a NaN or Inf null.
std::string json_text(const nlohmann::ordered_json& value);

}  // namespace slice::detail
