#include "libslice/text/json_grammar.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>

#include "libslice/base/error.h"
#include "libslice/text/bpe.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using Json = nlohmann::ordered_json;
using tests::check_contains;
using tests::refusal;

const std::shared_ptr<const Tokenizer>& tokenizer() {
  static const auto made = make_bpe_tokenizer(tests::tiny_definition());
  return made;
}

const std::shared_ptr<const TokenBytes>& token_bytes() {
  static const auto made = std::make_shared<const TokenBytes>(*tokenizer());
  return made;
}

int64_t id_of(char byte) {
  static const std::map<std::string, int64_t> ids = [] {
    std::map<std::string, int64_t> found;
    for (const TokenBytes::Token& token : token_bytes()->sorted()) found[token.bytes] = token.id;
    return found;
  }();
  return ids.at(std::string(1, byte));
}

/// Bytes of a text that fit, from its beginning, as tokens of one byte.
size_t fitting(const JsonGrammar& grammar, const std::string& text, bool* may_end = nullptr) {
  JsonText state(grammar, token_bytes());
  size_t fits = 0;
  while (fits < text.size() && state.push(id_of(text[fits]))) ++fits;
  if (may_end) *may_end = state.may_end();
  return fits;
}

bool takes(const JsonGrammar& grammar, const std::string& text) {
  bool may_end = false;
  return fitting(grammar, text, &may_end) == text.size() && may_end;
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  size_t below(size_t n) { return engine_() % n; }
  bool chance(int percent) { return below(100) < static_cast<size_t>(percent); }
  template <typename T>
  const T& of(const std::vector<T>& list) {
    return list[below(list.size())];
  }

 private:
  std::mt19937_64 engine_;
};

/// A string as JSON writes it, in some of the ways in which it can be written.
std::string random_string(Random& random, size_t least = 0, size_t most = 6) {
  static const std::vector<std::string> kParts = {
      "a",       "hello",          " ",       "é",    "漢", "😀", "\\n", "\\\"", "\\\\", "\\/",
      "\\u00e9", "\\uD83D\\uDE00", "\\u0041", "\x7f", "{",  "]", ","};
  std::string text = "\"";
  for (size_t i = least + random.below(most - least + 1); i > 0; --i) {
    std::string part = random.of(kParts);
    if (part == "hello") part = "o";  // one character each
    text += part;
  }
  return text + "\"";
}

std::string random_spaces(Random& random) {
  static const std::vector<std::string> kSpaces = {"", "", "", " ", "\n", "\n  ", "\n\t\t"};
  return random.of(kSpaces);
}

std::string random_number(Random& random, bool integer) {
  static const std::vector<std::string> kIntegers = {"0", "-0", "7", "-12", "123456789012345678"};
  static const std::vector<std::string> kOthers = {"0.5", "-1.25e-7", "1E+10", "3e5", "10.0"};
  return random.of(integer || random.chance(50) ? kIntegers : kOthers);
}

std::string random_value(Random& random, int depth);

std::string random_members(Random& random, int depth, bool object) {
  std::string text(1, object ? '{' : '[');
  const size_t members = random.below(4);
  for (size_t i = 0; i < members; ++i) {
    text += random_spaces(random);
    if (i > 0) text += "," + random_spaces(random);
    if (object) text += random_string(random) + random_spaces(random) + ":" + random_spaces(random);
    text += random_value(random, depth - 1);
  }
  return text + random_spaces(random) + (object ? "}" : "]");
}

std::string random_value(Random& random, int depth) {
  switch (random.below(depth > 0 ? 6 : 4)) {
    case 0:
      return random_string(random);
    case 1:
      return random_number(random, false);
    case 2:
      return random.chance(50) ? "true" : "false";
    case 3:
      return "null";
    case 4:
      return random_members(random, depth, true);
    default:
      return random_members(random, depth, false);
  }
}

/// A text by random tokens that are allowed, which soon takes what ends it. Checks on its way that
/// what is allowed is what push() takes, and that there is always something.
std::string random_text(const JsonGrammar& grammar, Random& random, bool deep = false) {
  JsonText state(grammar, token_bytes());
  std::vector<int64_t> ids;
  std::string text;
  const size_t turn = 10 + random.below(40);
  while (true) {
    std::vector<uint8_t> allowed(static_cast<size_t>(tokenizer()->vocabulary_size()), 0);
    state.allow(allowed);
    std::vector<int64_t> choices;
    for (size_t id = 0; id < allowed.size(); ++id) {
      if (allowed[id]) choices.push_back(static_cast<int64_t>(id));
    }
    if (state.may_end() && (choices.empty() || ids.size() > turn || random.chance(10))) return text;
    INFO("after " << text);
    REQUIRE(!choices.empty());
    REQUIRE(ids.size() < 2000);
    if (random.chance(2)) {
      for (size_t id = 0; id < allowed.size(); ++id) {
        JsonText again(grammar, token_bytes());
        for (const int64_t before : ids) REQUIRE(again.push(before));
        INFO("token " << id);
        CHECK(again.push(static_cast<int64_t>(id)) == (allowed[id] == 1));
      }
    }
    int64_t choice = random.of(choices);
    const std::string preferred = deep && ids.size() < 300 ? "[{\""
                                  : ids.size() > turn      ? "\"}]:,"
                                                           : "";
    for (const char byte : preferred) {
      if (allowed[static_cast<size_t>(id_of(byte))]) {
        choice = id_of(byte);
        break;
      }
    }
    REQUIRE(state.push(choice));
    ids.push_back(choice);
    text += token_bytes()->bytes(choice);
  }
}

// ---- random schemas ----

Json random_schema(Random& random, int depth) {
  switch (random.below(depth > 0 ? 9 : 6)) {
    case 0:
      return {{"type", "integer"}};
    case 1:
      return {{"type", "number"}, {"description", "any"}};
    case 2:
      return {{"type", Json::array({"boolean", "null"})}};
    case 3:
      return {{"enum", {"a", "ab", 1, 12, nullptr, {{"x", Json::array({1})}}}}};
    case 4:
      return {{"type", "string"}, {"minLength", random.below(3)}, {"maxLength", 5}};
    case 5:
      return {{"const", "hello"}};
    case 6: {
      Json schema = {{"type", "array"}, {"items", random_schema(random, depth - 1)}};
      if (random.chance(50)) schema["minItems"] = random.below(3);
      if (random.chance(50)) schema["maxItems"] = 2 + random.below(2);
      return schema;
    }
    case 7:
      return {{"anyOf", {random_schema(random, depth - 1), random_schema(random, depth - 1)}}};
    default: {
      Json schema = {{"type", "object"}, {"properties", Json::object()}};
      Json required = Json::array();
      for (const char* name : {"a", "ab", "é\"", "b"}) {
        if (!random.chance(60)) continue;
        schema["properties"][name] = random_schema(random, depth - 1);
        if (random.chance(50)) required.push_back(name);
      }
      schema["required"] = required;
      schema["additionalProperties"] =
          random.chance(50) ? Json(false) : random_schema(random, depth - 1);
      return schema;
    }
  }
}

size_t characters(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

bool is_type(const Json& value, const std::string& type) {
  if (type == "number") return value.is_number();
  return type == "integer" ? value.is_number_integer() : type == value.type_name();
}

/// JSON Schema's own words, for the keywords that random_schema uses.
bool valid(const Json& value, const Json& schema) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("const")) return value == schema["const"];
  if (schema.contains("enum")) {
    return std::ranges::find(schema["enum"], value) != schema["enum"].end();
  }
  if (schema.contains("anyOf")) {
    return std::ranges::any_of(schema["anyOf"], [&](const Json& one) { return valid(value, one); });
  }
  if (schema.contains("type")) {
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    if (std::ranges::none_of(types, [&](const Json& type) { return is_type(value, type); }))
      return false;
  }
  if (value.is_string()) {
    const size_t n = characters(value.get<std::string>());
    return n >= schema.value("minLength", size_t{0}) && n <= schema.value("maxLength", SIZE_MAX);
  }
  if (value.is_array()) {
    if (value.size() < schema.value("minItems", size_t{0}) ||
        value.size() > schema.value("maxItems", SIZE_MAX))
      return false;
    return !schema.contains("items") || std::ranges::all_of(value, [&](const Json& item) {
      return valid(item, schema["items"]);
    });
  }
  if (!value.is_object()) return true;
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>())) return false;
  }
  for (const auto& [name, member] : value.items()) {
    const Json properties = schema.value("properties", Json::object());
    const Json more = schema.value("additionalProperties", Json(true));
    if (!valid(member, properties.contains(name) ? properties[name] : more)) return false;
  }
  return true;
}

/// A text of the schema, with white space.
std::string random_instance(const Json& schema, Random& random) {
  if (schema.contains("const")) return schema["const"].dump();
  if (schema.contains("enum")) return schema["enum"][random.below(schema["enum"].size())].dump();
  if (schema.contains("anyOf")) return random_instance(schema["anyOf"][random.below(2)], random);
  const Json& type = schema["type"];
  if (type.is_array()) return random.chance(50) ? "null" : "true";
  if (type == "integer" || type == "number") return random_number(random, type == "integer");
  if (type == "string") return random_string(random, schema["minLength"].get<size_t>(), 5);
  std::string text(1, type == "array" ? '[' : '{');
  size_t members = 0;
  const auto add = [&](const std::string& name, const Json& member) {
    text += random_spaces(random) + (members++ > 0 ? "," + random_spaces(random) : "");
    if (!name.empty()) text += name + random_spaces(random) + ":" + random_spaces(random);
    text += random_instance(member, random);
  };
  if (type == "array") {
    const size_t least = schema.value("minItems", size_t{0}),
                 most = schema.value("maxItems", least + 3);
    for (size_t i = least + random.below(most - least + 1); i > 0; --i) add("", schema["items"]);
    return text + random_spaces(random) + "]";
  }
  const Json& required = schema["required"];
  for (const auto& [name, property] : schema["properties"].items()) {
    const bool needed = std::ranges::find(required, Json(name)) != required.end();
    if (needed || random.chance(50)) add(Json(name).dump(), property);
  }
  if (schema["additionalProperties"].is_object()) {
    for (const char* name : {"\"\"", "\"abc\"", "\"c\\n\"", "\"é\""}) {
      if (random.chance(30) && !schema["properties"].contains(Json::parse(name).get<std::string>()))
        add(name, schema["additionalProperties"]);
    }
  }
  return text + random_spaces(random) + "}";
}

TEST_CASE("every JSON object is taken, byte by byte", "[json_grammar]") {
  const JsonGrammar grammar = JsonGrammar::any_object();
  Random random(1);
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_spaces(random) + random_members(random, 5, true);
    INFO(text);
    REQUIRE(Json::accept(text));
    bool may_end = false;
    CHECK(fitting(grammar, text, &may_end) == text.size());
    CHECK(may_end);
    CHECK(fitting(grammar, text + "x") == text.size());
  }
  for (const char* text : {"1",
                           "[]",
                           "\"a\"",
                           "null",
                           "{]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{\"a\":01}",
                           "{\"a\":+1}",
                           "{\"a\":.5}",
                           "{\"a\":1.}",
                           "{\"a\":1e}",
                           "{\"a\":1e999}",
                           "{\"a\":nul}",
                           "{'a':1}",
                           "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{\"a\":\"\\udc00\"}",
                           "{\"a\":\"\n\"}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":\"\xc0\x80\"}",
                           "{\"a\":\"\xed\xa0\x80\"}"}) {
    INFO(text);
    CHECK_FALSE(takes(grammar, text));
  }
}

TEST_CASE("what is let through is JSON, and push and allow agree", "[json_grammar]") {
  const JsonGrammar grammar = JsonGrammar::any_object();
  Random random(2);
  for (int i = 0; i < 150; ++i) {
    const std::string text = random_text(grammar, random, i % 10 == 0);
    INFO(text);
    CHECK(Json::parse(text).is_object());
  }
}

TEST_CASE("white space ends: a model that likes it would write nothing else", "[json_grammar]") {
  const JsonGrammar grammar = JsonGrammar::any_object();
  CHECK(takes(grammar, "\n{\n" + std::string(24, ' ') + "}"));
  CHECK_FALSE(takes(grammar, "{\n" + std::string(25, ' ') + "}"));
  CHECK_FALSE(takes(grammar, "{  }"));
  CHECK_FALSE(takes(grammar, "{\n\n}"));
  CHECK_FALSE(takes(grammar, "{} "));
}

TEST_CASE("nesting ends where it may go no deeper", "[json_grammar]") {
  const JsonGrammar any = JsonGrammar::any_object();
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  CHECK(takes(any, nested(63)));
  CHECK_FALSE(takes(any, nested(64)));
  // A list in a list … of which each level needs one more for its end.
  const JsonGrammar list = JsonGrammar::of_schema(
      R"({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/end"}]}},
          "required": ["next"], "$defs": {"end": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
          "item": {"type": "null"}}})");
  Random random(3);
  for (int i = 0; i < 5; ++i) CHECK(Json::parse(random_text(list, random, true)).is_object());
}

TEST_CASE("texts of random schemas: all are valid, and valid ones are taken", "[json_grammar]") {
  Random random(4);
  for (int i = 0; i < 250; ++i) {
    const Json schema = random_schema(random, 3);
    INFO(schema.dump());
    const JsonGrammar grammar = JsonGrammar::of_schema(schema.dump());
    for (int j = 0; j < 4; ++j) {
      const std::string text = random_text(grammar, random);
      INFO(text);
      CHECK(valid(Json::parse(text), schema));
      const std::string instance = random_instance(schema, random);
      INFO(instance);
      REQUIRE(valid(Json::parse(instance), schema));
      CHECK(takes(grammar, instance));
    }
  }
}

TEST_CASE("references, several types, and what a keyword implies", "[json_grammar]") {
  const JsonGrammar tree = JsonGrammar::of_schema(
      R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
          "name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
          "required": ["name"]}}})");
  CHECK(
      takes(tree, R"({"name": "a", "children": [{"name": "b"}, {"name": "c", "children": []}]})"));
  CHECK_FALSE(takes(tree, R"({"children": []})"));
  CHECK_FALSE(takes(tree, R"({"children": [], "name": "a"})"));  // the schema's order
  CHECK_FALSE(takes(tree, R"({"name": "a", "more": 1})"));       // none but the named
  const JsonGrammar needs = JsonGrammar::of_schema(R"({"required": ["x"]})");
  CHECK(takes(needs, R"({"x": [1], "y": {}})"));
  CHECK_FALSE(takes(needs, "{}"));
  const JsonGrammar more = JsonGrammar::of_schema(
      R"({"properties": {"ab": {"const": 1}}, "additionalProperties": {"type": "string"}})");
  CHECK(takes(more, R"({"ab": 1, "a": "", "abc": "", "b\u0061": ""})"));
  CHECK_FALSE(takes(more, R"({"ab": 1, "ab": ""})"));
  CHECK_FALSE(takes(more, R"({"a\u0062": ""})"));  // the same name in another way
  CHECK(takes(JsonGrammar::of_schema(R"({"enum": ["a", 1, 2], "type": ["integer"]})"), "2"));
  CHECK_FALSE(takes(JsonGrammar::of_schema(R"({"enum": ["a", 1], "type": "integer"})"), "\"a\""));
  CHECK(takes(JsonGrammar::of_schema("{}"), " [1, {}]"));
  CHECK(takes(JsonGrammar::of_schema(R"({"allOf": [{"items": {"type": "null"}, "maxItems": 1}]})"),
              "[null ]"));
}

TEST_CASE("schemas that are not supported are refused by name", "[json_grammar]") {
  const auto refused = [](const std::string& schema) {
    return refusal([&] { JsonGrammar::of_schema(schema); });
  };
  check_contains(refused("{"), "schema");
  check_contains(refused("1"), "want a schema");
  check_contains(refused("false"), "want a schema");
  check_contains(refused(R"({"properties": {"a": {"pattern": "x"}}})"),
                 "/properties/a: 'pattern' is not supported");
  check_contains(refused(R"({"oneOf": [true]})"), "'oneOf' is not supported");
  check_contains(refused(R"({"anyOf": [], "type": "null"})"), "'anyOf' beside other keywords");
  check_contains(refused(R"({"anyOf": []})"), "/anyOf: want an array of schemas");
  check_contains(refused(R"({"allOf": [true, true]})"), "'allOf' of other than one");
  check_contains(refused(R"({"type": "text"})"), "'type': want the name of a type");
  check_contains(refused(R"({"type": []})"), "no value is allowed");
  check_contains(refused(R"({"enum": []})"), "no value is allowed");
  check_contains(refused(R"({"enum": ["a"], "maxLength": 1})"), "'maxLength' beside 'enum'");
  check_contains(refused(R"({"$ref": "other.json"})"), "to another document");
  check_contains(refused(R"({"$ref": "#/$defs/none"})"), "to what is not there");
  check_contains(refused(R"({"$ref": "#"})"), "begins with itself");
  check_contains(refused(R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})"), "begins with itself");
  check_contains(refused(R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})"),
                 "no value of it");
  check_contains(refused(R"({"type": "array", "minItems": 3, "maxItems": 2})"), "is larger than");
  check_contains(refused(R"({"type": "array", "minItems": -1})"),
                 "want an integer from 0 to 10000");
  check_contains(refused(R"({"type": "string", "minLength": 3, "maxLength": 2})"),
                 "is larger than");
  check_contains(refused(R"({"properties": {}, "required": ["a"]})"), "names 'a', no property");
  check_contains(refused(std::string(100, '[')), "nested");
  check_contains(refused(std::string((256 << 10) + 1, ' ')), "longer than");
  Json wide = {{"type", "null"}};
  for (int i = 0; i < 20; ++i) wide = {{"anyOf", {wide, {{"type", "null"}}}}};
  Json defs = Json::object();
  for (int i = 0; i < 20; ++i) {
    const Json next = {{"$ref", "#/$defs/" + std::to_string(i + 1)}};
    defs[std::to_string(i)] = {{"anyOf", {next, next}}};
  }
  defs["20"] = {{"type", "null"}};
  CHECK(takes(JsonGrammar::of_schema(wide.dump()), "null"));
  check_contains(refused(Json{{"$defs", defs}, {"$ref", "#/$defs/0"}}.dump()), "alternatives");
  Json large = {{"type", "array"}, {"maxItems", 10000}};
  large["items"] = {{"type", "array"}, {"maxItems", 10000}, {"items", {{"type", "null"}}}};
  CHECK(takes(JsonGrammar::of_schema(large.dump()), "[[null,null],[]]"));
}

TEST_CASE("a schema of many required names takes a moment, not half a minute", "[json_grammar]") {
  std::string names;
  for (int i = 0; i < 20'000; ++i) names += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + '"';
  const auto begin = std::chrono::steady_clock::now();
  JsonText text(JsonGrammar::of_schema(R"({"required": [)" + names + "]}"), token_bytes());
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
}

TEST_CASE("the bytes of tokens join to the text", "[json_grammar]") {
  const std::vector<int64_t> ids = tokenizer()->encode("hello world é 😀");
  std::string text;
  for (const int64_t id : ids) text += token_bytes()->bytes(id);
  CHECK(text == "hello world é 😀");
  CHECK(token_bytes()->bytes(0).empty());  // special
  CHECK(token_bytes()->bytes(-1).empty());
  CHECK(token_bytes()->bytes(1 << 20).empty());
  std::set<int64_t> all;
  for (const TokenBytes::Token& token : token_bytes()->others()) all.insert(token.id);
  for (const TokenBytes::Plain& token : token_bytes()->plain()) all.insert(token.id);
  CHECK(all.size() == token_bytes()->sorted().size());
}

}  // namespace
}  // namespace slice
