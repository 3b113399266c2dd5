#include "libslice/base/detail/json.h"

#include <unordered_set>
#include <utility>
#include <vector>

namespace slice::detail {
namespace {

constexpr int kMaxDepth = 64;

// Destroying or printing a value recurses, so the depth is checked before anything is built; so is
// the number of values, of which each but a container's first follows a comma.
void check_size(std::string_view text, const std::string& name, int64_t most_values) {
  int depth = 0;
  int64_t values = 1;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == ',') {
      ++values;
    } else if (c == '{' || c == '[') {
      ++values;
      SLICE_FORMAT_CHECK(++depth <= kMaxDepth,
                         "{}: JSON nested more than {} levels deep at byte {}", name, kMaxDepth, i);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  SLICE_FORMAT_CHECK(values <= most_values, "{}: JSON of {} values, want at most {}", name, values,
                     most_values);
}

// Stops at the first key that its object already has. nlohmann's callbacks could do the same, but
// with them every value's end searches all members of the object around it.
class DuplicateFinder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::optional<std::string> found;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }
  bool start_object(size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second) found = std::move(key);
    return !found;
  }

 private:
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& name, int64_t most_values) {
  check_size(text, name, most_values);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(detail::formatted("{}: not JSON: {}", name, error.what()));
  }
}

std::optional<std::string> duplicate_key(std::string_view text) {
  DuplicateFinder finder;
  nlohmann::json::sax_parse(text, &finder);
  return std::move(finder.found);
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
