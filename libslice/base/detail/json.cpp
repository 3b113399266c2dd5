#include "libslice/base/detail/json.h"

namespace slice::detail {
namespace {

constexpr int kMaxDepth = 64;

// Destroying or printing a value recurses, so the depth is checked before anything is built.
void check_depth(std::string_view text, const std::string& name) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      SLICE_FORMAT_CHECK(++depth <= kMaxDepth,
                         "{}: JSON nested more than {} levels deep at byte {}", name, kMaxDepth, i);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& name) {
  check_depth(text, name);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(detail::formatted("{}: not JSON: {}", name, error.what()));
  }
}

const nlohmann::json& array_field(const nlohmann::json& object, const char* key,
                                  const std::string& where) {
  static const nlohmann::json nothing = nlohmann::json::array();
  SLICE_FORMAT_CHECK(object.is_object(), "{}: want an object, got {}", where, object.type_name());
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return nothing;
  SLICE_FORMAT_CHECK(found->is_array(), "{}: '{}': want an array, got {}", where, key,
                     found->type_name());
  return *found;
}

}  // namespace slice::detail
