#include <charconv>
#include <map>
#include <unordered_map>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/sources/tokenizer_config.h"
#include "libslice/text/sources/tokenizer_configs.h"
#include "libslice/text/sources/vocabulary_json.h"

namespace slice::detail {
namespace {

using nlohmann::json;

int64_t parse_id(const std::string& text, const std::string& where) {
  int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  SLICE_FORMAT_CHECK(error == std::errc() && end == text.data() + text.size(),
                     "{}: '{}': want a token id", where, text);
  return id;
}

// The tokens that a configuration names as special, by one key or in a list or object of them.
std::vector<std::string> special_names(const TokenizerConfigs& configs) {
  std::vector<std::string> names;
  for (const JsonFile* config : {&configs.tokenizer, &configs.special}) {
    for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token", "cls_token",
                            "sep_token", "mask_token"}) {
      if (const auto name = config->name(key)) names.push_back(*name);
    }
    for (const char* key :
         {"additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"}) {
      const json& entries = config->member(key);
      SLICE_FORMAT_CHECK(entries.is_array() || entries.is_object() || entries.is_null(),
                         "{}: '{}': want a list, got {}", config->where, key, entries.type_name());
      for (const json& entry : entries) {
        names.push_back(entry.is_string() ? entry.get<std::string>()
                                          : field<std::string>(entry, "content", config->where));
      }
    }
  }
  return names;
}

struct Found {
  AddedToken token;
  std::string where;
  bool flags;  // its flags count, also for a token that is there already
};
using FoundTokens = std::map<int64_t, Found>;

void read_added_tokens_json(const TokenizerTexts& texts, FoundTokens& found) {
  const JsonFile added(texts, texts.added_tokens, "added_tokens.json");
  for (const auto& [content, id] : added.object.items()) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: '{}': want an integer id, got {}", added.where,
                       content, id.type_name());
    AddedToken token;
    token.id = id.get<int64_t>();
    token.content = content;
    const auto [first, taken] = found.emplace(token.id, Found{token, added.where, false});
    if (!taken) {
      warn("{}: id {} is both '{}' and '{}': the second is ignored", added.where, token.id,
           first->second.token.content, content);
    }
  }
}

void read_added_tokens_decoder(const JsonFile& config, FoundTokens& found) {
  const std::string where = config.where + ": added_tokens_decoder";
  const json& decoder = config.member("added_tokens_decoder");
  SLICE_FORMAT_CHECK(decoder.is_object() || decoder.is_null(), "{}: want an object, got {}", where,
                     decoder.type_name());
  for (const auto& [id, entry] : decoder.items()) {
    const auto flag = [&entry = entry, &where](const char* key) {
      return find_field<bool>(entry, key, where).value_or(false);
    };
    AddedToken token;
    token.id = parse_id(id, where);
    token.content = field<std::string>(entry, "content", where);
    token.special = flag("special");
    token.single_word = flag("single_word");
    token.normalized = flag("normalized");
    token.left_strip = flag("lstrip");
    token.right_strip = flag("rstrip");
    found.insert_or_assign(token.id, Found{token, where, true});
  }
}

// Adds tokens to a definition, and knows where each id comes first among its added tokens.
class TokenAdder {
 public:
  TokenAdder(BpeDefinition& definition, int64_t limit) : definition_(definition), limit_(limit) {
    for (size_t i = 0; i < definition.added.size(); ++i) places_.emplace(definition.added[i].id, i);
  }

  // False where the id is out of reach or another token's.
  bool add(const AddedToken& token, bool flags) {
    if (!place_token(token.content, token.id, limit_, definition_.tokens)) return false;
    const auto [place, fresh] = places_.emplace(token.id, definition_.added.size());
    if (fresh) {
      definition_.added.push_back(token);
    } else if (flags) {
      definition_.added[place->second] = token;
    }
    return true;
  }
  void make_special(int64_t id) { definition_.added[places_.at(id)].special = true; }

 private:
  BpeDefinition& definition_;
  int64_t limit_;
  std::unordered_map<int64_t, size_t> places_;
};

void add_found(FoundTokens found, bool normalizes, BpeDefinition& definition, TokenAdder& adder) {
  std::map<std::string, std::vector<std::string>> ignored;  // by where they were found
  const auto known = ids_by_token(definition);
  for (auto& [id, entry] : found) {
    AddedToken& token = entry.token;
    if (const auto place = known.find(token.content); place != known.end()) {
      token.id = place->second;
    }
    token.normalized &= normalizes;
    if (!adder.add(token, entry.flags)) {
      ignored[entry.where].push_back(formatted("'{}' ({})", token.content, token.id));
    }
  }
  for (const auto& [where, list] : ignored) {
    warn("{}: tokens whose id is taken or out of range are ignored: {}", where, shortened(list));
  }
}

}  // namespace

void read_added_tokens(const TokenizerTexts& texts, BpeDefinition& definition) {
  const TokenizerConfigs configs(texts);
  const bool from_json = !texts.tokenizer.empty();
  FoundTokens found;
  read_added_tokens_json(texts, found);
  read_added_tokens_decoder(configs.tokenizer, found);
  TokenAdder adder(definition, std::ssize(definition.tokens) + std::ssize(found) + kMostHoles);
  add_found(std::move(found), from_json, definition, adder);
  const auto ids = ids_by_token(definition);
  for (const std::string& name : special_names(configs)) {
    const auto place = ids.find(name);
    if (place == ids.end()) continue;  // the reader of that name warns
    AddedToken token;
    token.id = place->second;
    token.content = name;
    token.special = true;
    adder.add(token, /*flags=*/false);
    // tokenizer.json itself says which of its added tokens are special.
    if (!from_json) adder.make_special(token.id);
  }
}

}  // namespace slice::detail
