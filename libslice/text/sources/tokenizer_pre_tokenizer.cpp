#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/sources/tokenizer_components.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

using nlohmann::json;
using Alphabet = BpeDefinition::Alphabet;
using Matches = Split::Matches;

Matches read_behavior(const BpeDefinition& definition, const std::string& name) {
  static constexpr std::pair<const char*, Matches> kBehaviors[] = {
      {"Isolated", Matches::kIsolated},       {"Removed", Matches::kRemoved},
      {"Contiguous", Matches::kContiguous},   {"MergedWithPrevious", Matches::kWithPrevious},
      {"MergedWithNext", Matches::kWithNext},
  };
  for (const auto& [known, matches] : kBehaviors) {
    if (name == known) return matches;
  }
  refuse_component(definition, "Split behavior", name);
}

void add_split(const std::string& pattern, Matches matches, bool invert,
               BpeDefinition& definition) {
  const bool spelled = definition.alphabet == Alphabet::kBytes;
  definition.splits.push_back({pattern, matches, invert, spelled, {}});
}

// What a component changes in each piece, before it cuts it (not at all with an empty pattern).
void add_changes(std::vector<Normalizer> changes, const std::string& pattern, Matches matches,
                 BpeDefinition& definition) {
  if (!definition.splits.empty()) {
    definition.splits.push_back({pattern, matches, false, false, std::move(changes)});
    return;
  }
  for (Normalizer& change : changes) definition.piece_normalizers.push_back(std::move(change));
  if (!pattern.empty()) add_split(pattern, matches, false, definition);
}

// "▁" for spaces, and one before the text.
void read_metaspace(const json& component, BpeDefinition& definition) {
  const std::string where = component_place(definition, "Metaspace");
  const auto mark = find_field<std::string>(component, "replacement", where).value_or(kSpaceMark);
  const bool prefix = find_field<bool>(component, "add_prefix_space", where).value_or(true);
  const auto scheme = find_field<std::string>(component, "prepend_scheme", where)
                          .value_or(prefix ? "always" : "never");
  std::vector<Normalizer> changes = {{Normalizer::Kind::kReplace, " ", mark}};
  if (scheme == "always") {
    changes.push_back({Normalizer::Kind::kPrependUnlessThere, "", mark});
  } else if (scheme == "first") {
    changes.push_back({Normalizer::Kind::kPrependAtStart, "", mark});
  } else if (scheme != "never") {
    refuse_component(definition, "Metaspace prepend_scheme", scheme);
  }
  const bool splits = find_field<bool>(component, "split", where).value_or(true);
  add_changes(std::move(changes), splits ? quote_regex(mark) : "", Matches::kWithNext, definition);
}

void read_byte_level(const json& component, BpeDefinition& definition) {
  const std::string where = component_place(definition, "ByteLevel");
  std::vector<Normalizer> changes;
  if (find_field<bool>(component, "add_prefix_space", where).value_or(true)) {
    changes.push_back({Normalizer::Kind::kPrependUnlessThere, "", " "});
  }
  const bool splits = find_field<bool>(component, "use_regex", where).value_or(true);
  if (splits || !changes.empty()) {
    add_changes(std::move(changes), splits ? kGpt2Words : "", Matches::kIsolated, definition);
  }
  definition.alphabet = Alphabet::kBytes;
}

void read_split(const json& component, const std::string& where, BpeDefinition& definition) {
  const auto [pattern, regex] = read_component_pattern(component, where);
  add_split(regex ? pattern : quote_regex(pattern),
            read_behavior(definition, field<std::string>(component, "behavior", where)),
            find_field<bool>(component, "invert", where).value_or(false), definition);
}

// Those that are a regular expression. @return false for another type
bool read_plain_split(const json& component, const std::string& type, const std::string& where,
                      BpeDefinition& definition) {
  if (type == "Digits") {
    const bool single = find_field<bool>(component, "individual_digits", where).value_or(false);
    add_split(kNumber, single ? Matches::kIsolated : Matches::kContiguous, false, definition);
  } else if (type == "Whitespace") {
    add_split(R"(\w+|[^\w\s]+)", Matches::kRemoved, true, definition);
  } else if (type == "WhitespaceSplit") {
    add_split(R"(\s)", Matches::kRemoved, false, definition);
  } else if (type == "Punctuation") {
    const auto behavior = find_field<std::string>(component, "behavior", where);
    add_split(R"([\p{P}!-/:-@\[-`{-~])", read_behavior(definition, behavior.value_or("Isolated")),
              false, definition);
  } else if (type == "CharDelimiterSplit") {
    add_split(quote_regex(field<std::string>(component, "delimiter", where)), Matches::kRemoved,
              false, definition);
  } else if (type == "FixedLength") {
    const auto length = find_field<int64_t>(component, "length", where).value_or(5);
    SLICE_FORMAT_CHECK(length > 0 && length < 10000, "{}: FixedLength: length {}: want 1 to 9999",
                       where, length);
    add_split(formatted(R"([\s\S]{{{}}})", length), Matches::kIsolated, false, definition);
  } else {
    return false;
  }
  return true;
}

void read_one_pre_tokenizer(const json& component, BpeDefinition& definition) {
  const std::string where = component_place(definition, "pre_tokenizer");
  const auto type = field<std::string>(component, "type", where);
  if (type == "Sequence") {
    for (const json& part : array_field(component, "pretokenizers", where)) {
      read_one_pre_tokenizer(part, definition);
    }
    return;
  }
  if (type == "Split") return read_split(component, where, definition);
  if (read_plain_split(component, type, where, definition)) return;
  if (type != "ByteLevel" && type != "Metaspace") {
    refuse_component(definition, "pre_tokenizer", type);
  }
  // These change the text, which a component after them would see.
  if (definition.alphabet == Alphabet::kBytes) {
    refuse_component(definition, "after ByteLevel, pre_tokenizer", type);
  }
  if (type == "ByteLevel") return read_byte_level(component, definition);
  read_metaspace(component, definition);
}

}  // namespace

void read_pre_tokenizer(const json& component, BpeDefinition& definition) {
  if (!component.is_null()) read_one_pre_tokenizer(component, definition);
}

}  // namespace slice::detail
