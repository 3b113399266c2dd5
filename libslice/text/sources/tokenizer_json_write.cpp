#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "libslice/base/detail/check.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

// Keeps the order of insertion, so that a vocabulary is written by id.
using Json = nlohmann::ordered_json;
using Alphabet = BpeDefinition::Alphabet;

std::string written_token(const BpeDefinition& definition, int64_t id) {
  std::string token = definition.tokens[id];
  if (definition.alphabet == Alphabet::kCharacters) {
    replace_all_inplace(token, definition.space_mark, kSpaceMark);
  }
  return token;
}

Json model_json(const BpeDefinition& definition) {
  Json vocabulary = Json::object();
  // ordered_json compares a new key with all earlier ones, so entries go into its container.
  auto& entries = vocabulary.get_ref<Json::object_t&>();
  // An id without a token stays free, and so does that of a token which is there already: a
  // duplicate key would take the place of the first.
  std::unordered_set<std::string_view> written;
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty() || !written.insert(definition.tokens[id]).second) continue;
    entries.Container::emplace_back(written_token(definition, static_cast<int64_t>(id)), id);
  }
  std::vector<MergeTable::Merge> merges = definition.merges;
  std::ranges::stable_sort(merges, {}, &MergeTable::Merge::priority);
  Json lines = Json::array();
  for (const MergeTable::Merge& merge : merges) {
    lines.push_back(written_token(definition, merge.left) + " " +
                    written_token(definition, merge.right));
  }
  Json unknown;
  if (definition.unknown) unknown = written_token(definition, *definition.unknown);
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", definition.fuse_unknown},
          {"byte_fallback", definition.byte_fallback},
          {"ignore_merges", definition.ignore_merges},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(lines)}};
}

Json added_tokens_json(const BpeDefinition& definition) {
  Json added = Json::array();
  for (const AddedToken& token : definition.added) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.left_strip},
                     {"rstrip", token.right_strip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  return added;
}

// A Split for each stage; ByteLevel then only maps the alphabet.
Json byte_level_pre_tokenizer(const BpeDefinition& definition) {
  Json stages = Json::array();
  for (const Split& split : definition.splits) {
    stages.push_back({{"type", "Split"},
                      {"pattern", {{"Regex", split.pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}});
  }
  stages.push_back({{"type", "ByteLevel"},
                    {"add_prefix_space", false},
                    {"trim_offsets", true},
                    {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(stages)}};
}

Json replace_json(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json normalizer_json(const BpeDefinition& definition) {
  Json parts = Json::array();
  for (const Normalizer& normalizer : definition.normalizers) {
    if (normalizer.kind == Normalizer::Kind::kNfc) parts.push_back({{"type", "NFC"}});
    if (normalizer.kind == Normalizer::Kind::kPrepend) {
      parts.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
    }
  }
  if (definition.alphabet == Alphabet::kCharacters) {
    parts.push_back(replace_json(" ", kSpaceMark));
  }
  if (parts.empty()) return nullptr;
  return {{"type", "Sequence"}, {"normalizers", std::move(parts)}};
}

Json llama_decoder(const BpeDefinition& definition) {
  Json parts = Json::array(
      {replace_json(kSpaceMark, " "), Json{{"type", "ByteFallback"}}, Json{{"type", "Fuse"}}});
  if (definition.strip_leading_space) {
    parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", std::move(parts)}};
}

Json bos_template(const BpeDefinition& definition) {
  const std::string bos = written_token(definition, *definition.bos);
  const auto part = [](const char* kind, const std::string& id, int type) {
    return Json{{kind, {{"id", id}, {"type_id", type}}}};
  };
  const Json single = Json::array({part("SpecialToken", bos, 0), part("Sequence", "A", 0)});
  const Json pair = Json::array({part("SpecialToken", bos, 0), part("Sequence", "A", 0),
                                 part("SpecialToken", bos, 1), part("Sequence", "B", 1)});
  const Json token = {
      {"id", bos}, {"ids", Json::array({*definition.bos})}, {"tokens", Json::array({bos})}};
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", {{bos, token}}}};
}

std::string tokenizer_json(const BpeDefinition& definition) {
  const bool bytes = definition.alphabet == Alphabet::kBytes;
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json root = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_tokens_json(definition)},
                     {"normalizer", normalizer_json(definition)},
                     {"pre_tokenizer", bytes ? byte_level_pre_tokenizer(definition) : Json()},
                     {"post_processor", definition.adds_bos ? bos_template(definition) : Json()},
                     {"decoder", bytes ? byte_level : llama_decoder(definition)},
                     {"model", model_json(definition)}};
  return root.dump(1) + "\n";
}

std::string tokenizer_config_json(const BpeDefinition& definition) {
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"add_bos_token", definition.adds_bos},
                 {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, std::optional<int64_t> id) {
    if (id) config[key] = written_token(definition, *id);
  };
  name("bos_token", definition.bos);
  if (!definition.eos.empty()) name("eos_token", definition.eos.front());
  name("unk_token", definition.unknown);
  name("pad_token", definition.padding);
  if (!definition.chat_template.empty()) config["chat_template"] = definition.chat_template;
  return config.dump(2) + "\n";
}

}  // namespace

std::vector<Tokenizer::File> write_tokenizer_json(const BpeDefinition& definition) {
  return {{"tokenizer.json", tokenizer_json(definition)},
          {"tokenizer_config.json", tokenizer_config_json(definition)}};
}

}  // namespace slice::detail
