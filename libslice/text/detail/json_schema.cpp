#include "libslice/text/detail/json_schema.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/detail/json.h"
#include "libslice/text/detail/grammar_code.h"
#include "libslice/text/detail/grammar_containers.h"

namespace slice::detail {
namespace {

using Json = nlohmann::ordered_json;
using Op = Instruction::Op;

constexpr int64_t kMostItems = 10'000, kMostCharacters = 1'000'000;
constexpr size_t kMostBytes = 256 << 10;  // each name is looked for among all before it

const std::set<std::string> kAnnotations = {
    "$schema", "$id",      "$comment", "$defs",      "definitions", "title",    "description",
    "default", "examples", "example",  "deprecated", "readOnly",    "writeOnly"};
const std::set<std::string> kKeywords = {"type",       "enum",     "const",
                                         "anyOf",      "allOf",    "$ref",
                                         "properties", "required", "additionalProperties",
                                         "items",      "minItems", "maxItems",
                                         "minLength",  "maxLength"};

class SchemaCompiler {
 public:
  explicit SchemaCompiler(const Json& root) : root_(root) {}

  GrammarProgram compile() {
    code_.spaces();
    value(root_, "");
    code_.end_rule();
    while (!waiting_.empty()) {
      const auto [rule, schema, place] = waiting_.front();
      waiting_.pop_front();
      code_.begin_rule(rule);
      value(*schema, place);
      code_.end_rule();
    }
    return code_.finish();
  }

 private:
  struct Waiting {
    int32_t rule;
    const Json* schema;
    std::string place;
  };

  [[noreturn]] static void refuse(const std::string& place, const std::string& why) {
    throw FormatError("schema: " + (place.empty() ? "" : place + ": ") + why);
  }

  static std::string pointer(const std::string& place, const std::string& key) {
    return place + "/" + key;
  }

  /// A rule that is written once, later.
  int32_t rule_of(const Json& schema, const std::string& place) {
    const auto [found, added] = rules_.emplace(&schema, -1);
    if (added) {
      found->second = code_.new_rule();
      waiting_.push_back({found->second, &schema, place});
    }
    return found->second;
  }

  int32_t referred(const Json& reference, const std::string& place) {
    if (!reference.is_string()) refuse(place, "'$ref': want a string");
    const std::string text = reference;
    if (!text.starts_with("#")) refuse(place, "'$ref' to another document: " + text);
    try {
      return rule_of(root_.at(Json::json_pointer(text.substr(1))), text);
    } catch (const Json::exception&) {
      refuse(place, "'$ref' to what is not there: " + text);
    }
  }

  /// The keywords that are there, all of them known and none of them mere words.
  static std::set<std::string> keywords(const Json& schema, const std::string& place) {
    std::set<std::string> found;
    for (const auto& [key, ignored] : schema.items()) {
      if (kAnnotations.contains(key)) continue;
      if (!kKeywords.contains(key)) refuse(place, "'" + key + "' is not supported");
      found.insert(key);
    }
    return found;
  }

  void value(const Json& schema, const std::string& place) {
    if (schema == true) return code_.call(code_.any_rule());
    if (!schema.is_object()) refuse(place, "want a schema, an object or true");
    std::set<std::string> found = keywords(schema, place);
    if (found.empty()) return code_.call(code_.any_rule());
    for (const char* alone : {"$ref", "anyOf", "allOf"}) {
      if (found.contains(alone) && found.size() > 1)
        refuse(place, std::string("'") + alone + "' beside other keywords is not supported");
    }
    if (found.contains("$ref")) return code_.call(referred(schema["$ref"], place));
    if (found.contains("anyOf")) return any_of(schema["anyOf"], pointer(place, "anyOf"));
    if (found.contains("allOf")) {
      const Json& all = schema["allOf"];
      if (!all.is_array() || all.size() != 1)
        refuse(place, "'allOf' of other than one schema is not supported");
      return value(all[0], pointer(place, "allOf/0"));
    }
    if (found.contains("enum") || found.contains("const")) return literals(schema, place);
    typed(schema, place);
  }

  void any_of(const Json& schemas, const std::string& place) {
    if (!schemas.is_array() || schemas.empty()) refuse(place, "want an array of schemas");
    std::vector<std::function<void()>> writers;
    for (size_t i = 0; i < schemas.size(); ++i) {
      writers.push_back([&, i] { value(schemas[i], pointer(place, std::to_string(i))); });
    }
    alternatives(writers);
  }

  void alternatives(const std::vector<std::function<void()>>& writers) {
    std::vector<int32_t> ends;
    for (size_t i = 0; i < writers.size(); ++i) {
      const int32_t place = i + 1 < writers.size() ? code_.fork() : -1;
      if (place >= 0) code_.at(place).target = code_.here();
      writers[i]();
      if (place < 0) break;
      ends.push_back(code_.jump());
      code_.at(place).other = code_.here();
    }
    for (const int32_t end : ends) code_.at(end).target = code_.here();
  }

  static bool has_type(const Json& value, const std::string& type) {
    if (type == "integer") {
      return value.is_number_integer() ||
             (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
    }
    return type == "number" ? value.is_number() : type == value.type_name();
  }

  void literals(const Json& schema, const std::string& place) {
    for (const std::string& key : keywords(schema, place)) {
      if (key != "type" && key != "enum" && key != "const")
        refuse(place, "'" + key + "' beside 'enum' or 'const' is not supported");
    }
    const bool constant = schema.contains("const");
    const Json values = constant ? Json::array({schema["const"]}) : schema["enum"];
    if (!values.is_array()) refuse(place, "'enum': want an array");
    std::vector<std::string> texts;
    const std::vector<std::string> types = types_of(schema, place);
    for (const Json& literal : values) {
      const bool fits = std::ranges::any_of(
          types, [&](const std::string& type) { return has_type(literal, type); });
      if (fits) texts.push_back(literal.dump());
    }
    if (texts.empty()) refuse(place, "no value is allowed");
    code_.one_of(texts);
  }

  /// All types where none is named, but for those that the keywords are not about.
  static std::vector<std::string> types_of(const Json& schema, const std::string& place) {
    const std::vector<std::string> all = {"object",  "array",   "string", "number",
                                          "integer", "boolean", "null"};
    if (!schema.contains("type")) {
      const auto has = [&](const char* key) { return schema.contains(key); };
      if (has("properties") || has("required") || has("additionalProperties")) return {"object"};
      if (has("items") || has("minItems") || has("maxItems")) return {"array"};
      if (has("minLength") || has("maxLength")) return {"string"};
      return all;
    }
    const Json& type = schema["type"];
    const Json list = type.is_array() ? type : Json::array({type});
    std::vector<std::string> types;
    for (const Json& name : list) {
      if (!name.is_string() || std::ranges::find(all, name.get<std::string>()) == all.end())
        refuse(place, "'type': want the name of a type or an array of them");
      types.push_back(name);
    }
    if (types.empty()) refuse(place, "'type': no value is allowed");
    return types;
  }

  void typed(const Json& schema, const std::string& place) {
    std::vector<std::function<void()>> writers;
    for (const std::string& type : types_of(schema, place)) {
      writers.push_back([&, type] { one_type(type, schema, place); });
    }
    alternatives(writers);
  }

  void one_type(const std::string& type, const Json& schema, const std::string& place) {
    if (type == "object") return object(schema, place);
    if (type == "array") return array(schema, place);
    if (type == "boolean") return code_.one_of({"false", "true"});
    if (type == "null") return code_.one_of({"null"});
    if (type != "string") {
      code_.emit({.op = Op::kNumber, .integer = type == "integer"});
      return;
    }
    const int64_t least = size(schema, "minLength", place, 0, kMostCharacters);
    const int64_t most = size(schema, "maxLength", place, INT64_MAX, kMostCharacters);
    if (least > most) refuse(place, "'minLength' is larger than 'maxLength'");
    code_.emit({.op = Op::kString, .least = least, .most = most});
  }

  static int64_t size(const Json& schema, const char* key, const std::string& place, int64_t absent,
                      int64_t most) {
    if (!schema.contains(key)) return absent;
    const Json& number = schema[key];
    if (!number.is_number_unsigned() || number.get<uint64_t>() > static_cast<uint64_t>(most))
      refuse(place,
             std::string("'") + key + "': want an integer from 0 to " + std::to_string(most));
    return number.get<int64_t>();
  }

  void array(const Json& schema, const std::string& place) {
    static const Json kAny = true;
    const Json& items = schema.contains("items") ? schema["items"] : kAny;
    const int64_t least = size(schema, "minItems", place, 0, kMostItems);
    const int64_t most = size(schema, "maxItems", place, INT64_MAX, kMostItems);
    if (least > most) refuse(place, "'minItems' is larger than 'maxItems'");
    const int32_t rule = items == true ? code_.any_rule() : rule_of(items, pointer(place, "items"));
    write_array(code_, rule, least, most);
  }

  /// A property as it is written: its name quoted, and its schema.
  struct Property {
    std::string name;
    const Json* schema;
    std::string place;
    bool required;
  };

  std::vector<Property> properties(const Json& schema, const std::string& place) {
    std::vector<Property> found;
    std::set<std::string> required;
    if (schema.contains("required")) {
      if (!schema["required"].is_array()) refuse(place, "'required': want an array of strings");
      for (const Json& name : schema["required"]) {
        if (!name.is_string()) refuse(place, "'required': want an array of strings");
        required.insert(name);
      }
    }
    if (schema.contains("properties")) {
      if (!schema["properties"].is_object()) refuse(place, "'properties': want an object");
      for (const auto& [name, property] : schema["properties"].items()) {
        found.push_back({Json(name).dump(), &property, pointer(place, "properties/" + name),
                         required.erase(name) > 0});
      }
    }
    for (const std::string& name : required) {
      if (!additional(schema)) refuse(place, "'required' names '" + name + "', no property");
      found.push_back({Json(name).dump(), additional(schema), place, true});
    }
    return found;
  }

  /// The schema of properties that are not named; null where there may be none. Left out it means
  /// none beside named ones.
  static const Json* additional(const Json& schema) {
    static const Json kAny = true;
    if (schema.contains("additionalProperties")) {
      const Json& more = schema["additionalProperties"];
      return more == false ? nullptr : &more;
    }
    return schema.contains("properties") ? nullptr : &kAny;
  }

  void object(const Json& schema, const std::string& place) {
    const std::vector<Property> named = properties(schema, place);
    const Json* more = additional(schema);
    const std::string more_place = pointer(place, "additionalProperties");
    if (named.empty() && more) {
      return code_.free_object(*more == true ? code_.any_rule() : rule_of(*more, more_place));
    }
    std::vector<ObjectMember> members;
    std::vector<std::string> names;
    for (const Property& property : named) {
      names.push_back(property.name);
      members.push_back({.required = property.required,
                         .write_key = [&] { code_.bytes(property.name); },
                         .write_value = [&] { value(*property.schema, property.place); }});
    }
    const int32_t except = more ? code_.key_tree(names) : -1;
    if (more) {
      members.push_back({.repeats = true,
                         .write_key = [&] { code_.emit({.op = Op::kString, .except = except}); },
                         .write_value = [&] { value(*more, more_place); }});
    }
    write_object(code_, members);
  }

  const Json& root_;
  GrammarCode code_;
  std::map<const Json*, int32_t> rules_;
  std::deque<Waiting> waiting_;
};

}  // namespace

GrammarProgram compile_schema(std::string_view schema) {
  SLICE_FORMAT_CHECK(schema.size() <= kMostBytes, "schema: longer than {} bytes", kMostBytes);
  static_cast<void>(parse_json(schema, "schema"));  // its limits, and one line of why
  const Json root = Json::parse(schema);
  return SchemaCompiler(root).compile();
}

}  // namespace slice::detail
