#include "libslice/text/sources/tokenizer_config.h"

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/base/detail/unite.h"
#include "libslice/base/detail/warn.h"
#include "libslice/text/detail/chat_template.h"
#include "libslice/text/detail/word_encoder.h"
#include "libslice/text/sources/tokenizer_configs.h"

namespace slice::detail {
namespace {

using nlohmann::json;

std::optional<int64_t> named_token(const TokenizerConfigs& configs, const char* key,
                                   const TextMap<int64_t>& ids) {
  for (const JsonFile* config : {&configs.tokenizer, &configs.special}) {
    const auto name = config->name(key);
    if (!name) continue;
    if (name->empty()) continue;
    if (const auto found = ids.find(*name); found != ids.end()) return found->second;
    warn("{}: {} '{}' is not a token and is ignored", config->where, key, *name);
  }
  return std::nullopt;
}

// The end tokens that a configuration gives by id. One that is no token ends no text.
void add_eos(const JsonFile& config, BpeDefinition& definition) {
  const json& value = config.member("eos_token_id");
  if (value.is_null()) return;
  std::vector<int64_t> ids;
  std::vector<std::string> ignored;
  for (const json& id : value.is_array() ? value : json::array({value})) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: eos_token_id: want an integer, got {}",
                       config.where, id.type_name());
    const auto token = id.get<int64_t>();
    if (token >= 0 && token < std::ssize(definition.tokens) && !definition.tokens[token].empty()) {
      ids.push_back(token);
    } else {
      ignored.push_back(std::to_string(token));
    }
  }
  if (!ignored.empty()) {
    warn("{}: eos_token_id that is not a token of the tokenizer: {}", config.where,
         shortened(ignored));
  }
  unite_inplace(definition.eos, ids);
}

}  // namespace

void read_tokenizer_config(const TokenizerTexts& texts, BpeDefinition& definition) {
  const TokenizerConfigs configs(texts);
  const JsonFile generation(texts, texts.generation, "generation_config.json");
  const JsonFile model(texts, texts.model, "config.json");
  check_utf8(texts.chat_template, texts.directory + "/chat_template.jinja");
  const auto ids = ids_by_token(definition);
  if (const auto bos = named_token(configs, "bos_token", ids)) definition.bos = bos;
  if (const auto pad = named_token(configs, "pad_token", ids)) definition.padding = pad;
  if (const auto eos = named_token(configs, "eos_token", ids)) definition.eos = {*eos};
  for (const JsonFile* config : {&generation, &model}) add_eos(*config, definition);
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
