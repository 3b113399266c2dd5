#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/sources/tokenizer_components.h"

namespace slice::detail {
namespace {

using nlohmann::json;
using Kind = Normalizer::Kind;

std::optional<Kind> plain_kind(const std::string& type) {
  static constexpr std::pair<const char*, Kind> kKinds[] = {
      {"NFC", Kind::kNfc},
      {"NFD", Kind::kNfd},
      {"NFKC", Kind::kNfkc},
      {"NFKD", Kind::kNfkd},
      {"Lowercase", Kind::kLowercase},
      {"StripAccents", Kind::kDropMarks},
  };
  for (const auto& [name, kind] : kKinds) {
    if (type == name) return kind;
  }
  return std::nullopt;
}

void read_replace(const json& component, const std::string& where, BpeDefinition& definition) {
  const auto [pattern, regex] = read_component_pattern(component, where);
  if (regex) RegexMatcher(pattern, definition.source);  // refuses it here, not in a text
  definition.normalizers.push_back({regex ? Kind::kReplacePattern : Kind::kReplace, pattern,
                                    field<std::string>(component, "content", where)});
}

void read_strip(const json& component, const std::string& where, BpeDefinition& definition) {
  const auto side = [&](const char* key, Kind kind) {
    if (find_field<bool>(component, key, where).value_or(true)) {
      definition.normalizers.push_back({kind, "", ""});
    }
  };
  side("strip_left", Kind::kTrimSpaceStart);
  side("strip_right", Kind::kTrimSpaceEnd);
}

}  // namespace

void read_normalizer(const json& component, BpeDefinition& definition) {
  if (component.is_null()) return;
  const std::string where = component_place(definition, "normalizer");
  const auto type = field<std::string>(component, "type", where);
  if (type == "Sequence") {
    for (const json& part : array_field(component, "normalizers", where)) {
      read_normalizer(part, definition);
    }
    return;
  }
  // ByteLevel maps the text to another alphabet, which a normalizer after it would see.
  if (definition.alphabet == BpeDefinition::Alphabet::kBytes) {
    refuse_component(definition, "after ByteLevel, normalizer", type);
  }
  if (const auto kind = plain_kind(type)) {
    definition.normalizers.push_back({*kind, "", ""});
  } else if (type == "Prepend") {
    definition.normalizers.push_back(
        {Kind::kPrepend, "", field<std::string>(component, "prepend", where)});
  } else if (type == "Replace") {
    read_replace(component, where, definition);
  } else if (type == "Strip") {
    read_strip(component, where, definition);
  } else if (type == "ByteLevel") {
    definition.alphabet = BpeDefinition::Alphabet::kBytes;
  } else {
    refuse_component(definition, "normalizer", type);
  }
}

}  // namespace slice::detail
