#include "examples/serve/tokenizer_paths.h"

#include <algorithm>

#include "libslice/text/chat.h"
#include "libslice/text/encode_prompt.h"

namespace serve {
namespace {

std::vector<int64_t> encode(const Json& body, const ServedModel& model) {
  const slice::Tokenizer& tokenizer = *model.tokenizer;
  if (const Json* messages = find(body, "messages")) {
    const Json* tools = find(body, "tools");
    return slice::encode_conversation(
        tokenizer,
        {.messages = text_of(*messages),
         .tools = tools == nullptr ? "" : text_of(*tools),
         .add_generation_prompt = get<bool>(body, "add_generation_prompt").value_or(true)});
  }
  const bool of_llama_cpp = find(body, "content") != nullptr;
  const auto text = get<std::string>(body, of_llama_cpp ? "content" : "prompt");
  if (!text) refuse("prompt", "is missing");
  const bool special =
      get<bool>(body, of_llama_cpp ? "add_special" : "add_special_tokens").value_or(!of_llama_cpp);
  return special ? slice::encode_prompt(tokenizer, *text)
                 : tokenizer.encode(*text, /*special=*/true);
}

}  // namespace

Json tokenize(const Json& body, const ServedModel& model) {
  const std::vector<int64_t> ids = encode(body, model);
  Json answer = {{"count", ids.size()}, {"max_model_len", model.capacity}, {"tokens", ids}};
  if (get<bool>(body, "return_token_strs").value_or(false)) {
    answer["token_strs"] = Json::array();
    for (const int64_t id : ids) answer["token_strs"].push_back(token_text(model, id));
  }
  return answer;
}

Json detokenize(const Json& body, const ServedModel& model) {
  const Json* tokens = find(body, "tokens");
  if (tokens == nullptr) refuse("tokens", "is missing");
  const std::vector<int64_t> ids = as_integers(*tokens, "tokens");
  if (std::ranges::any_of(ids, [](int64_t id) { return id < 0; }))
    refuse("tokens", "want token ids, 0 or more");
  const std::string text = model.tokenizer->decode(ids, /*special=*/true);
  return {{"prompt", text}, {"content", text}};
}

Json tokenizer_info(const ServedModel& model) {
  const slice::Tokenizer& tokenizer = *model.tokenizer;
  Json info = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  // Names that the tokenizer's own configuration gives, as Transformers knows them.
  for (const slice::Tokenizer::File& file : tokenizer.files()) {
    if (file.name != "tokenizer_config.json") continue;
    const Json config = Json::parse(file.bytes, nullptr, /*allow_exceptions=*/false);
    if (config.is_object()) info.update(config);
  }
  const auto name = [&](const char* key, int64_t id) {
    info[key] = tokenizer.decode(std::span(&id, 1), /*special=*/true);
  };
  if (const auto bos = tokenizer.bos_token()) name("bos_token", *bos);
  if (const auto ends = tokenizer.eos_tokens(); !ends.empty()) name("eos_token", ends.front());
  if (!tokenizer.chat_template().empty()) info["chat_template"] = tokenizer.chat_template();
  info["model_max_length"] = model.capacity;
  info["vocab_size"] = tokenizer.vocabulary_size();
  return info;
}

}  // namespace serve
