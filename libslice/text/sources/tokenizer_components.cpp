#include "libslice/text/sources/tokenizer_components.h"

#include <utility>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

using nlohmann::json;
using Alphabet = BpeDefinition::Alphabet;

[[noreturn]] void refuse(const BpeDefinition& definition, const char* what,
                         const std::string& type) {
  throw FormatError(
      detail::formatted("{}: {} '{}' is not supported", definition.source, what, type));
}

std::string place(const BpeDefinition& definition, const char* what) {
  return detail::formatted("{}: {}", definition.source, what);
}

// {"String": "…"} or {"Regex": "…"}, as a regular expression.
std::string read_pattern(const json& component, const std::string& where) {
  const auto pattern = component.find("pattern");
  SLICE_FORMAT_CHECK(pattern != component.end(), "{}: 'pattern' is missing", where);
  if (const auto literal = find_field<std::string>(*pattern, "String", where)) {
    return quote_regex(*literal);
  }
  return field<std::string>(*pattern, "Regex", where);
}

Split::Matches read_behavior(const BpeDefinition& definition, const std::string& name) {
  static constexpr std::pair<const char*, Split::Matches> kBehaviors[] = {
      {"Isolated", Split::Matches::kIsolated},
      {"Removed", Split::Matches::kRemoved},
      {"Contiguous", Split::Matches::kContiguous},
      {"MergedWithPrevious", Split::Matches::kWithPrevious},
      {"MergedWithNext", Split::Matches::kWithNext},
  };
  for (const auto& [known, matches] : kBehaviors) {
    if (name == known) return matches;
  }
  refuse(definition, "Split behavior", name);
}

// "▁" for spaces, and one before the text.
void read_metaspace(const json& component, BpeDefinition& definition) {
  const std::string where = place(definition, "Metaspace");
  const auto mark = find_field<std::string>(component, "replacement", where).value_or(kSpaceMark);
  const bool prefix = find_field<bool>(component, "add_prefix_space", where).value_or(true);
  const auto scheme = find_field<std::string>(component, "prepend_scheme", where)
                          .value_or(prefix ? "always" : "never");
  definition.piece_normalizers.push_back({Normalizer::Kind::kReplace, " ", mark});
  if (scheme == "always") {
    definition.piece_normalizers.push_back({Normalizer::Kind::kPrependUnlessThere, "", mark});
  } else if (scheme == "first") {
    definition.piece_normalizers.push_back({Normalizer::Kind::kPrependAtStart, "", mark});
  } else if (scheme != "never") {
    refuse(definition, "Metaspace prepend_scheme", scheme);
  }
  if (find_field<bool>(component, "split", where).value_or(true)) {
    definition.splits.push_back({quote_regex(mark), Split::Matches::kWithNext, false});
  }
}

void read_byte_level(const json& component, BpeDefinition& definition) {
  const std::string where = place(definition, "ByteLevel");
  if (find_field<bool>(component, "add_prefix_space", where).value_or(true)) {
    if (!definition.splits.empty()) refuse(definition, "after another", "add_prefix_space");
    definition.piece_normalizers.push_back({Normalizer::Kind::kPrependUnlessThere, "", " "});
  }
  if (find_field<bool>(component, "use_regex", where).value_or(true)) {
    definition.splits.push_back({kGpt2Words, Split::Matches::kIsolated, false});
  }
  definition.alphabet = Alphabet::kBytes;
}

void read_one_pre_tokenizer(const json& component, BpeDefinition& definition) {
  const std::string where = place(definition, "pre_tokenizer");
  const auto type = field<std::string>(component, "type", where);
  // ByteLevel maps the text to another alphabet, which a component after it would see.
  if (definition.alphabet == Alphabet::kBytes)
    refuse(definition, "after ByteLevel, pre_tokenizer", type);
  if (type == "Sequence") {
    for (const json& part : array_field(component, "pretokenizers", where)) {
      read_one_pre_tokenizer(part, definition);
    }
  } else if (type == "ByteLevel") {
    read_byte_level(component, definition);
  } else if (type == "Digits") {
    const bool single = find_field<bool>(component, "individual_digits", where).value_or(false);
    definition.splits.push_back(
        {kNumber, single ? Split::Matches::kIsolated : Split::Matches::kContiguous, false});
  } else if (type == "Split") {
    const auto behavior = field<std::string>(component, "behavior", where);
    definition.splits.push_back({read_pattern(component, where),
                                 read_behavior(definition, behavior),
                                 find_field<bool>(component, "invert", where).value_or(false)});
  } else if (type == "Metaspace") {
    if (!definition.splits.empty()) refuse(definition, "after another, pre_tokenizer", type);
    read_metaspace(component, definition);
  } else {
    refuse(definition, "pre_tokenizer", type);
  }
}

}  // namespace

void read_normalizer(const json& component, BpeDefinition& definition) {
  if (component.is_null()) return;
  const std::string where = place(definition, "normalizer");
  const auto type = field<std::string>(component, "type", where);
  if (type == "Sequence") {
    for (const json& part : array_field(component, "normalizers", where)) {
      read_normalizer(part, definition);
    }
  } else if (type == "NFC") {
    definition.normalizers.push_back({Normalizer::Kind::kNfc, "", ""});
  } else if (type == "Prepend") {
    definition.normalizers.push_back(
        {Normalizer::Kind::kPrepend, "", field<std::string>(component, "prepend", where)});
  } else if (type == "Replace") {
    const auto pattern = component.find("pattern");
    SLICE_FORMAT_CHECK(pattern != component.end(), "{}: 'pattern' is missing", where);
    definition.normalizers.push_back({Normalizer::Kind::kReplace,
                                      field<std::string>(*pattern, "String", where),
                                      field<std::string>(component, "content", where)});
  } else {
    refuse(definition, "normalizer", type);
  }
}

void read_pre_tokenizer(const json& component, BpeDefinition& definition) {
  definition.alphabet = Alphabet::kCharacters;
  if (!component.is_null()) read_one_pre_tokenizer(component, definition);
}

void read_decoder(const json& component, BpeDefinition& definition) {
  const std::string where = place(definition, "decoder");
  const auto type = field<std::string>(component, "type", where);
  const bool spells_bytes = definition.alphabet == Alphabet::kBytes;
  if (type == "Sequence") {
    for (const json& part : array_field(component, "decoders", where)) {
      read_decoder(part, definition);
    }
  } else if (type == "Replace" && !spells_bytes) {
    const auto pattern = component.find("pattern");
    SLICE_FORMAT_CHECK(pattern != component.end(), "{}: 'pattern' is missing", where);
    definition.space_mark = field<std::string>(*pattern, "String", where);
    const auto content = field<std::string>(component, "content", where);
    if (content != " ") refuse(definition, "decoder Replace content", content);
  } else if (type == "Metaspace" && !spells_bytes) {
    definition.space_mark =
        find_field<std::string>(component, "replacement", where).value_or(kSpaceMark);
    const bool prefix = find_field<bool>(component, "add_prefix_space", where).value_or(true);
    definition.strip_leading_space = find_field<std::string>(component, "prepend_scheme", where)
                                         .value_or(prefix ? "always" : "never") != "never";
  } else if (type == "Strip" && !spells_bytes) {
    const auto content = field<std::string>(component, "content", where);
    const auto start = field<int64_t>(component, "start", where);
    const auto stop = field<int64_t>(component, "stop", where);
    if (content != " " || start > 1 || stop != 0) refuse(definition, "decoder", component.dump());
    definition.strip_leading_space = start == 1;
  } else if (!(type == "ByteLevel" && spells_bytes) && type != "ByteFallback" && type != "Fuse") {
    refuse(definition, "decoder", type);
  }
}

std::optional<int64_t> read_post_processor(const json& component, const BpeDefinition& definition) {
  if (component.is_null()) return std::nullopt;
  const std::string where = place(definition, "post_processor");
  const auto type = field<std::string>(component, "type", where);
  std::optional<int64_t> first;
  if (type == "Sequence") {
    for (const json& part : array_field(component, "processors", where)) {
      if (const auto token = read_post_processor(part, definition)) first = token;
    }
  } else if (type == "TemplateProcessing") {
    const json& single = array_field(component, "single", where);
    if (single.empty() || !single[0].is_object() || !single[0].contains("SpecialToken")) return {};
    const auto name = field<std::string>(single[0]["SpecialToken"], "id", where);
    for (size_t id = 0; id < definition.tokens.size() && !first; ++id) {
      if (definition.tokens[id] == name) first = static_cast<int64_t>(id);
    }
    SLICE_FORMAT_CHECK(first, "{}: '{}' is not a token", where, name);
  } else if (type != "ByteLevel") {
    refuse(definition, "post_processor", type);
  }
  return first;
}

}  // namespace slice::detail
