#include "libslice/text/sources/tokenizer_config.h"

#include <charconv>
#include <map>
#include <unordered_map>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/python_json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/base/detail/unite.h"
#include "libslice/text/detail/chat_template.h"
#include "libslice/text/detail/word_encoder.h"

namespace slice::detail {
namespace {

using nlohmann::json;

// The JSON object in one of the files, and its name for messages.
struct Config {
  std::string where;
  json object;

  Config(const TokenizerTexts& texts, const std::string& text, const char* name)
      : where(texts.directory + "/" + name),
        object(text.empty() ? json::object() : parse_python_json(text, where)) {
    SLICE_FORMAT_CHECK(object.is_object(), "{}: want an object, got {}", where, object.type_name());
  }
  const json& member(const char* key) const {
    static const json null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
  }
  // "…", {"content": "…"} or null.
  std::optional<std::string> name(const char* key) const {
    return member(key).is_object() ? find_field<std::string>(member(key), "content", where)
                                   : find_field<std::string>(object, key, where);
  }
};

struct Configs {
  Config tokenizer, special;

  explicit Configs(const TokenizerTexts& texts)
      : tokenizer(texts, texts.configuration, "tokenizer_config.json"),
        special(texts, texts.special_tokens, "special_tokens_map.json") {}
};

TextMap<int64_t> ids_of(const BpeDefinition& definition) {
  TextMap<int64_t> ids;
  ids.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    ids.emplace(definition.tokens[id], static_cast<int64_t>(id));
  }
  return ids;
}

std::optional<int64_t> named_token(const Configs& configs, const char* key,
                                   const TextMap<int64_t>& ids) {
  for (const Config* config : {&configs.tokenizer, &configs.special}) {
    const auto name = config->name(key);
    if (!name) continue;
    const auto found = ids.find(*name);
    SLICE_FORMAT_CHECK(found != ids.end(), "{}: {} '{}' is not a token", config->where, key, *name);
    return found->second;
  }
  return std::nullopt;
}

// The end tokens that a configuration gives by id. One that is no token ends no text.
void add_eos(const Config& config, BpeDefinition& definition) {
  const json& value = config.member("eos_token_id");
  if (value.is_null()) return;
  std::vector<int64_t> ids;
  for (const json& id : value.is_array() ? value : json::array({value})) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: eos_token_id: want an integer, got {}",
                       config.where, id.type_name());
    const auto token = id.get<int64_t>();
    if (token >= 0 && token < std::ssize(definition.tokens)) ids.push_back(token);
  }
  unite_inplace(definition.eos, ids);
}

int64_t parse_id(const std::string& text, const std::string& where) {
  int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  SLICE_FORMAT_CHECK(error == std::errc() && end == text.data() + text.size(),
                     "{}: '{}': want a token id", where, text);
  return id;
}

// Tokens named in a configuration are special even if the vocabulary's file says otherwise.
std::vector<std::string> special_names(const Configs& configs) {
  std::vector<std::string> names;
  for (const Config* config : {&configs.tokenizer, &configs.special}) {
    for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
      if (const auto name = config->name(key)) names.push_back(*name);
    }
    for (const json& entry :
         array_field(config->object, "additional_special_tokens", config->where)) {
      names.push_back(entry.is_string() ? entry.get<std::string>()
                                        : field<std::string>(entry, "content", config->where));
    }
  }
  return names;
}

// Where each id comes first in a definition's added tokens.
using Places = std::unordered_map<int64_t, size_t>;

Places places_of(const BpeDefinition& definition) {
  Places places;
  for (size_t i = 0; i < definition.added.size(); ++i) places.emplace(definition.added[i].id, i);
  return places;
}

void add_token(const AddedToken& token, const std::string& where, BpeDefinition& definition,
               Places& places) {
  const auto size = static_cast<int64_t>(definition.tokens.size());
  SLICE_FORMAT_CHECK(token.id >= 0 && token.id <= size,
                     "{}: '{}' has id {}: want 0 <= id <= {}, without holes", where, token.content,
                     token.id, size);
  if (token.id == size) definition.tokens.push_back(token.content);
  SLICE_FORMAT_CHECK(definition.tokens[token.id] == token.content,
                     "{}: id {} is both '{}' and '{}'", where, token.id,
                     definition.tokens[token.id], token.content);
  const auto [place, fresh] = places.emplace(token.id, definition.added.size());
  if (fresh) {
    definition.added.push_back(token);
  } else if (token.special) {
    definition.added[place->second].special = true;
  }
}

}  // namespace

void read_added_tokens(const TokenizerTexts& texts, BpeDefinition& definition) {
  const Configs configs(texts);
  const Config added(texts, texts.added_tokens, "added_tokens.json");
  std::map<int64_t, std::pair<AddedToken, std::string>> tokens;  // and where each was found
  for (const auto& [content, id] : added.object.items()) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: '{}': want an integer id, got {}", added.where,
                       content, id.type_name());
    AddedToken token;
    token.id = id.get<int64_t>();
    token.content = content;
    const auto [first, taken] = tokens.emplace(token.id, std::pair(token, added.where));
    SLICE_FORMAT_CHECK(taken, "{}: id {} is both '{}' and '{}'", added.where, token.id,
                       first->second.first.content, content);
  }
  const json& decoder = configs.tokenizer.member("added_tokens_decoder");
  SLICE_FORMAT_CHECK(decoder.is_object() || decoder.is_null(),
                     "{}: added_tokens_decoder: want an object, got {}", configs.tokenizer.where,
                     decoder.type_name());
  for (const auto& [id, entry] : decoder.items()) {
    const std::string where = configs.tokenizer.where + ": added_tokens_decoder";
    AddedToken token;
    token.id = parse_id(id, where);
    token.content = field<std::string>(entry, "content", where);
    token.special = find_field<bool>(entry, "special", where).value_or(false);
    token.left_strip = find_field<bool>(entry, "lstrip", where).value_or(false);
    token.right_strip = find_field<bool>(entry, "rstrip", where).value_or(false);
    tokens.insert_or_assign(token.id, std::pair(token, where));
  }
  Places places = places_of(definition);
  for (const auto& [id, entry] : tokens) add_token(entry.first, entry.second, definition, places);
  const auto ids = ids_of(definition);
  for (const std::string& name : special_names(configs)) {
    const auto found = ids.find(name);
    if (found == ids.end()) continue;  // named_token refuses it
    AddedToken token;
    token.id = found->second;
    token.content = name;
    token.special = true;
    add_token(token, configs.special.where, definition, places);
  }
}

void read_tokenizer_config(const TokenizerTexts& texts, BpeDefinition& definition) {
  const Configs configs(texts);
  const Config generation(texts, texts.generation, "generation_config.json");
  const Config model(texts, texts.model, "config.json");
  check_utf8(texts.chat_template, texts.directory + "/chat_template.jinja");
  const auto ids = ids_of(definition);
  if (const auto bos = named_token(configs, "bos_token", ids)) definition.bos = bos;
  if (const auto pad = named_token(configs, "pad_token", ids)) definition.padding = pad;
  if (const auto eos = named_token(configs, "eos_token", ids)) definition.eos = {*eos};
  for (const Config* config : {&generation, &model}) add_eos(*config, definition);
  definition.chat_template =
      texts.chat_template.empty()
          ? read_chat_template(configs.tokenizer.object, configs.tokenizer.where)
          : texts.chat_template;
  const auto adds =
      find_field<bool>(configs.tokenizer.object, "add_bos_token", configs.tokenizer.where);
  definition.adds_bos = adds.value_or(definition.adds_bos);
  const auto type = find_field<std::string>(model.object, "model_type", model.where);
  if (type == "opt" || type == "sliced_opt") definition.adds_bos = false;
}

}  // namespace slice::detail
