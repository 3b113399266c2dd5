#include "examples/serve/fields.h"

#include <utility>

#include "examples/first_line.h"

namespace serve {
namespace {

constexpr size_t kMostDepth = 64, kMostMembers = 4096;

// Before anything is built: values that are nested without end would take a stack without end, and
// each member of an object is looked for among those before it.
void check_sizes(std::string_view body) {
  std::vector<size_t> commas;  // of the open arrays and objects
  std::vector<bool> objects;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      commas.push_back(0);
      objects.push_back(c == '{');
      if (commas.size() > kMostDepth)
        throw ApiError(400, "the body is nested more than " + std::to_string(kMostDepth) + " deep");
    } else if ((c == '}' || c == ']') && !commas.empty()) {
      commas.pop_back();
      objects.pop_back();
    } else if (c == ',' && !commas.empty() && ++commas.back() >= kMostMembers && objects.back()) {
      throw ApiError(400, "an object has more than " + std::to_string(kMostMembers) + " members");
    }
  }
}

}  // namespace

Json parse_body(std::string_view body) {
  check_sizes(body);
  Json value;
  try {
    value = Json::parse(body);
  } catch (const Json::exception& error) {
    throw ApiError(400, "the body is not JSON in UTF-8: " + cli::first_line(error.what()));
  }
  if (!value.is_object())
    throw ApiError(400, std::string("the body: want an object, got ") + value.type_name());
  return value;
}

const Json* find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

int64_t as_integer(const Json& value, const std::string& field) {
  constexpr double kExact = 9007199254740992.0;
  if (value.is_number_unsigned() && !std::in_range<int64_t>(value.get<uint64_t>()))
    refuse(field, "the integer is too large");
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) refuse(field, "want an integer");
  const auto number = value.get<double>();
  if (number != std::floor(number) || std::abs(number) > kExact) refuse(field, "want an integer");
  return static_cast<int64_t>(number);
}

std::vector<int64_t> as_integers(const Json& value, const std::string& field) {
  if (!value.is_array()) refuse(field, "want an array of integers");
  std::vector<int64_t> numbers;
  numbers.reserve(value.size());
  for (const Json& item : value)
    numbers.push_back(as_integer(item, field + "[" + std::to_string(numbers.size()) + "]"));
  return numbers;
}

int64_t integer_in(const Json& object, const char* name, int64_t least, int64_t most,
                   int64_t absent) {
  const int64_t value = get<int64_t>(object, name).value_or(absent);
  if (find(object, name) && (value < least || value > most))
    refuse(name, "want an integer from " + std::to_string(least) + " to " + std::to_string(most));
  return value;
}

double number_in(const Json& object, const char* name, double least, double most, double absent) {
  const double value = get<double>(object, name).value_or(absent);
  if (!(value >= least && value <= most))
    refuse(name, "want a number from " + text_of(least) + " to " + text_of(most));
  return value;
}

std::string text_of(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace serve
