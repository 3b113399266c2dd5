#include "libslice/text/sources/tokenizer_components.h"

#include <algorithm>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

using nlohmann::json;
using Alphabet = BpeDefinition::Alphabet;

}  // namespace

void refuse_component(const BpeDefinition& definition, const char* what, const std::string& type) {
  throw FormatError(formatted("{}: {} '{}' is not supported", definition.source, what, type));
}

std::string component_place(const BpeDefinition& definition, const char* what) {
  return formatted("{}: {}", definition.source, what);
}

ComponentPattern read_component_pattern(const json& component, const std::string& where) {
  const auto pattern = component.find("pattern");
  SLICE_FORMAT_CHECK(pattern != component.end(), "{}: 'pattern' is missing", where);
  if (pattern->is_string()) return {pattern->get<std::string>(), false};
  if (const auto literal = find_field<std::string>(*pattern, "String", where)) {
    return {*literal, false};
  }
  return {field<std::string>(*pattern, "Regex", where), true};
}

void read_decoder(const json& component, BpeDefinition& definition) {
  if (component.is_null()) {
    definition.decode_verbatim = true;
    return;
  }
  const std::string where = component_place(definition, "decoder");
  const auto type = field<std::string>(component, "type", where);
  const bool spells_bytes = definition.alphabet == Alphabet::kBytes;
  if (type == "Sequence") {
    for (const json& part : array_field(component, "decoders", where)) {
      read_decoder(part, definition);
    }
  } else if (type == "Replace" && !spells_bytes) {
    const auto [pattern, regex] = read_component_pattern(component, where);
    const auto content = field<std::string>(component, "content", where);
    if (regex) refuse_component(definition, "decoder Replace with a Regex", pattern);
    if (content != " ") refuse_component(definition, "decoder Replace content", content);
    definition.space_mark = pattern;
  } else if (type == "Metaspace" && !spells_bytes) {
    definition.space_mark =
        find_field<std::string>(component, "replacement", where).value_or(kSpaceMark);
    const bool prefix = find_field<bool>(component, "add_prefix_space", where).value_or(true);
    definition.strip_leading_space = find_field<std::string>(component, "prepend_scheme", where)
                                         .value_or(prefix ? "always" : "never") != "never";
    definition.strip_first_marks = definition.strip_leading_space;
  } else if (type == "Strip" && !spells_bytes) {
    const auto content = field<std::string>(component, "content", where);
    const auto start = field<int64_t>(component, "start", where);
    const auto stop = field<int64_t>(component, "stop", where);
    if (content != " " || start > 1 || stop != 0) {
      refuse_component(definition, "decoder", component.dump());
    }
    definition.strip_leading_space = start == 1;
  } else if (type == "BPEDecoder") {
    definition.decode_verbatim = true;
    definition.word_end = find_field<std::string>(component, "suffix", where).value_or("</w>");
  } else if (type == "ByteLevel") {
    definition.decode_bytes = !spells_bytes;
  } else if (type != "ByteFallback" && type != "Fuse") {
    refuse_component(definition, "decoder", type);
  }
}

std::optional<int64_t> read_post_processor(const json& component, const BpeDefinition& definition) {
  if (component.is_null()) return std::nullopt;
  const std::string where = component_place(definition, "post_processor");
  const auto type = field<std::string>(component, "type", where);
  std::optional<int64_t> first;
  const auto find = [&](const json& name) {
    SLICE_FORMAT_CHECK(name.is_string(), "{}: want a token's name, got {}", where, name.dump());
    const auto found = std::ranges::find(definition.tokens, name.get<std::string>());
    if (found == definition.tokens.end()) {
      warn("{}: '{}' is not a token and is not put before a text", where, name.get<std::string>());
    } else {
      first = found - definition.tokens.begin();
    }
  };
  if (type == "Sequence") {
    for (const json& part : array_field(component, "processors", where)) {
      if (const auto token = read_post_processor(part, definition)) first = token;
    }
  } else if (type == "TemplateProcessing") {
    const json& single = array_field(component, "single", where);
    if (single.empty() || !single[0].is_object() || !single[0].contains("SpecialToken")) return {};
    find(field<std::string>(single[0]["SpecialToken"], "id", where));
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    const json& cls = array_field(component, "cls", where);
    find(cls.empty() ? json() : cls[0]);
  } else if (type != "ByteLevel") {
    refuse_component(definition, "post_processor", type);
  }
  return first;
}

}  // namespace slice::detail
