#include "libslice/detail/tokenizer_json.h"

#include <algorithm>

#include "libslice/detail/json.h"
#include "libslice/detail/merge_line.h"
#include "libslice/detail/tokenizer_components.h"
#include "libslice/detail/word_encoder.h"

namespace slice::detail {
namespace {

using nlohmann::json;
using Ids = TextMap<int32_t>;

const json& member(const json& object, const char* key) {
  static const json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

void read_added_tokens(const json& root, BpeDefinition& definition) {
  for (const json& entry : array_field(root, "added_tokens", definition.source)) {
    const std::string where =
        fmt::format("{}: added_tokens[{}]", definition.source, definition.added.size());
    AddedToken token;
    token.id = field<int64_t>(entry, "id", where);
    token.content = field<std::string>(entry, "content", where);
    const auto flag = [&](const char* key) {
      return find_field<bool>(entry, key, where).value_or(false);
    };
    token.special = flag("special");
    token.normalized = flag("normalized");
    token.left_strip = flag("lstrip");
    token.right_strip = flag("rstrip");
    SLICE_FORMAT_CHECK(!flag("single_word"), "{} '{}': single_word is not supported", where,
                       token.content);
    definition.added.push_back(std::move(token));
  }
}

// Every id from 0 on is taken by exactly one token, of the vocabulary or added.
Ids read_vocabulary(const json& vocabulary, BpeDefinition& definition) {
  const std::string& source = definition.source;
  SLICE_FORMAT_CHECK(vocabulary.is_object(), "{}: model.vocab: want an object, got {}", source,
                     vocabulary.type_name());
  size_t size = vocabulary.size();
  for (const AddedToken& token : definition.added) size += !vocabulary.contains(token.content);
  Ids ids;
  ids.reserve(size);
  definition.tokens.resize(size);
  const auto place = [&](const std::string& token, int64_t id) {
    SLICE_FORMAT_CHECK(id >= 0 && id < static_cast<int64_t>(size),
                       "{}: token '{}' has id {}: want 0 <= id < {}, without holes", source, token,
                       id, size);
    std::string& taken = definition.tokens[id];
    SLICE_FORMAT_CHECK(taken.empty() || taken == token, "{}: id {} is both '{}' and '{}'", source,
                       id, taken, token);
    taken = token;
    const auto [first, added] = ids.emplace(token, static_cast<int32_t>(id));
    SLICE_FORMAT_CHECK(added || first->second == id, "{}: token '{}' is both {} and {}", source,
                       token, first->second, id);
  };
  for (const auto& [token, id] : vocabulary.items()) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: token '{}': want an integer id, got {}", source,
                       token, id.type_name());
    place(token, id.get<int64_t>());
  }
  for (const AddedToken& token : definition.added) place(token.content, token.id);
  return ids;
}

void read_merges(const json& model, const Ids& ids, BpeDefinition& definition) {
  for (const json& entry : array_field(model, "merges", definition.source + ": model")) {
    const auto priority = static_cast<int32_t>(definition.merges.size());
    const std::string where = fmt::format("{}: model.merges[{}]", definition.source, priority);
    if (entry.is_string()) {
      definition.merges.push_back(read_merge_line(entry, ids, priority, where));
      continue;
    }
    SLICE_FORMAT_CHECK(
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string(),
        "{}: want 'left right' or [left, right], got {}", where, entry.dump());
    definition.merges.push_back(make_merge(entry[0], entry[1], ids, priority, where));
  }
}

Ids read_model(const json& model, BpeDefinition& definition) {
  const std::string where = definition.source + ": model";
  const auto type = find_field<std::string>(model, "type", where).value_or("BPE");
  SLICE_FORMAT_CHECK(type == "BPE", "{} '{}' is not supported: want 'BPE'", where, type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto affix = find_field<std::string>(model, key, where).value_or("");
    SLICE_FORMAT_CHECK(affix.empty(), "{}: {} '{}' is not supported", where, key, affix);
  }
  Ids ids = read_vocabulary(member(model, "vocab"), definition);
  read_merges(model, ids, definition);
  const auto flag = [&](const char* key) {
    return find_field<bool>(model, key, where).value_or(false);
  };
  definition.byte_fallback = flag("byte_fallback");
  definition.ignore_merges = flag("ignore_merges");
  definition.fuse_unknown = flag("fuse_unk");
  if (const auto unknown = find_field<std::string>(model, "unk_token", where)) {
    const auto found = ids.find(*unknown);
    SLICE_FORMAT_CHECK(found != ids.end(), "{}: unk_token '{}' is no token", where, *unknown);
    definition.unknown = found->second;
  }
  return ids;
}

// "…", {"content": "…"} or null.
std::optional<int64_t> named_token(const json& config, const char* key, const Ids& ids,
                                   const std::string& where) {
  const json& entry = member(config, key);
  if (entry.is_null()) return std::nullopt;
  const auto name = entry.is_object() ? find_field<std::string>(entry, "content", where)
                                      : find_field<std::string>(config, key, where);
  if (!name) return std::nullopt;
  const auto found = ids.find(*name);
  SLICE_FORMAT_CHECK(found != ids.end(), "{}: {} '{}' is no token", where, key, *name);
  return found->second;
}

void add_eos(BpeDefinition& definition, const json& id, const std::string& where) {
  SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: eos_token_id: want an integer, got {}", where,
                     id.type_name());
  const auto token = id.get<int64_t>();
  if (std::ranges::find(definition.eos, token) == definition.eos.end()) {
    definition.eos.push_back(token);
  }
}

void read_configs(const TokenizerJson& texts, const Ids& ids, BpeDefinition& definition) {
  const auto parse = [&](const std::string& text, const char* name) {
    const std::string where = texts.directory + "/" + name;
    json value = text.empty() ? json::object() : parse_json(text, where);
    SLICE_FORMAT_CHECK(value.is_object(), "{}: want an object, got {}", where, value.type_name());
    return std::pair(std::move(value), where);
  };
  const auto [config, config_name] = parse(texts.tokenizer_config, "tokenizer_config.json");
  const auto [map, map_name] = parse(texts.special_tokens_map, "special_tokens_map.json");
  const auto [generation, generation_name] =
      parse(texts.generation_config, "generation_config.json");
  const auto find_token = [&](const char* key) {
    const auto token = named_token(config, key, ids, config_name);
    return token ? token : named_token(map, key, ids, map_name);
  };
  if (const auto bos = find_token("bos_token")) definition.bos = bos;
  definition.padding = find_token("pad_token");
  if (const auto eos = find_token("eos_token")) definition.eos.push_back(*eos);
  const json& more = member(generation, "eos_token_id");
  if (more.is_array()) {
    for (const json& id : more) add_eos(definition, id, generation_name);
  } else if (!more.is_null()) {
    add_eos(definition, more, generation_name);
  }
  const auto adds_bos = find_field<bool>(config, "add_bos_token", config_name);
  definition.adds_bos = adds_bos.value_or(definition.adds_bos);
}

}  // namespace

BpeDefinition read_tokenizer_json(const TokenizerJson& texts) {
  BpeDefinition definition;
  definition.source = texts.directory + "/tokenizer.json";
  const json root = parse_json(texts.tokenizer, definition.source);
  read_added_tokens(root, definition);
  const Ids ids = read_model(member(root, "model"), definition);
  read_normalizer(member(root, "normalizer"), definition);
  read_pre_tokenizer(member(root, "pre_tokenizer"), definition);
  read_decoder(member(root, "decoder"), definition);
  SLICE_FORMAT_CHECK(
      !definition.byte_fallback || definition.alphabet == BpeDefinition::Alphabet::kCharacters,
      "{}: byte_fallback together with ByteLevel is not supported", definition.source);
  definition.bos = read_post_processor(member(root, "post_processor"), definition);
  definition.adds_bos = definition.bos.has_value();
  read_configs(texts, ids, definition);
  return definition;
}

}  // namespace slice::detail
