// POST /v1/completions: prompts to requests, and texts to choices.

#include <algorithm>
#include <map>
#include <utility>

#include "examples/serve/call.h"
#include "libslice/text/encode_prompt.h"

namespace serve {
namespace {

constexpr int64_t kDefaultTokens = 16;

struct Prompt {
  std::vector<int64_t> ids;
  std::string text;
};

Prompt read_one(const Json& value, const ServedModel& model, const std::string& field) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    Prompt prompt{slice::encode_prompt(*model.tokenizer, text), text};
    check_prompt(prompt.ids, model, "prompt");
    return prompt;
  }
  Prompt prompt{as_integers(value, field), ""};
  for (const int64_t id : prompt.ids) {
    if (id < 0) refuse(field, "want token ids, got " + std::to_string(id));
  }
  check_prompt(prompt.ids, model, "prompt");  // before the text of millions is made
  prompt.text = model.tokenizer->decode(prompt.ids, /*special=*/true);
  return prompt;
}

/// A text, its ids, or a list of either.
std::vector<Prompt> read_prompts(const Json& body, const ServedModel& model) {
  const Json* value = find(body, "prompt");
  if (value == nullptr) refuse("prompt", "is missing");
  const bool list = value->is_array() && !value->empty() &&
                    (value->front().is_string() || value->front().is_array());
  if (list && std::cmp_greater(value->size(), model.most_prompts))
    refuse("prompt", "want at most " + std::to_string(model.most_prompts) + " prompts");
  std::vector<Prompt> prompts;
  if (!list) {
    if (!value->is_string() && !value->is_array())
      refuse("prompt", "want a string, an array of token ids, or an array of these");
    prompts.push_back(read_one(*value, model, "prompt"));
  }
  for (size_t i = 0; list && i < value->size(); ++i) {
    const std::string field = "prompt[" + std::to_string(i) + "]";
    if (!(*value)[i].is_string() && !(*value)[i].is_array())
      refuse(field, "want a string or an array of token ids");
    prompts.push_back(read_one((*value)[i], model, field));
  }
  return prompts;
}

/// Characters of UTF-8.
int64_t characters(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (c & '\xc0') != '\x80'; });
}

class CompletionForm final : public AnswerForm {
 public:
  CompletionForm(const ServedModel& model, std::vector<Prompt> prompts, int64_t texts, bool echo,
                 bool logprobs)
      : model_(model),
        prompts_(std::move(prompts)),
        scores_(prompts_.size()),
        texts_(texts),
        echo_(echo),
        logprobs_(logprobs) {}

  std::string object(bool) const override { return "text_completion"; }
  std::string id_prefix() const override { return "cmpl-"; }

  Json whole(int64_t choice, size_t prompt, const slice::TextPiece& text) override {
    if (text.index == 0) scores_[prompt] = text.prompt_logprobs;
    Json all = echo_ ? of_prompt(choice, prompt) : entry(choice, "");
    all["text"] = all["text"].get<std::string>() + text.text;
    if (logprobs_) {
      Json& shown = all["logprobs"];
      if (shown.is_null()) shown = no_tokens();
      for (const slice::TokenLogprobs& token : text.logprobs) add(token, offsets_[choice], shown);
    }
    all["finish_reason"] = finish_reason(text.finish);
    all["stop_reason"] = stop_reason(text);
    return all;
  }

  std::vector<Json> opening() override {
    std::vector<Json> entries;
    if (!echo_ || logprobs_) return entries;
    for (int64_t i = 0; i < std::ssize(prompts_) * texts_; ++i)
      entries.push_back(of_prompt(i, static_cast<size_t>(i / texts_)));
    return entries;
  }

  std::vector<Json> piece(int64_t choice, size_t prompt, const slice::TextPiece& piece) override {
    std::vector<Json> entries;
    if (echo_ && logprobs_ && !echoed_[prompt]) {  // the first piece brings the prompt's
      echoed_[prompt] = true;
      scores_[prompt] = piece.prompt_logprobs;
      for (int64_t i = 0; i < texts_; ++i)
        entries.push_back(of_prompt(static_cast<int64_t>(prompt) * texts_ + i, prompt));
    }
    const bool ends = piece.finish != slice::Finish::kNone;
    const bool scored = logprobs_ && !piece.logprobs.empty();
    if (piece.text.empty() && !scored && !ends) return entries;
    Json shown = entry(choice, piece.text);
    if (scored) {
      shown["logprobs"] = no_tokens();
      for (const slice::TokenLogprobs& token : piece.logprobs)
        add(token, offsets_[choice], shown["logprobs"]);
    }
    shown["finish_reason"] = finish_reason(piece.finish);
    shown["stop_reason"] = stop_reason(piece);
    entries.push_back(std::move(shown));
    return entries;
  }

 private:
  static Json entry(int64_t choice, const std::string& text) {
    return {{"index", choice}, {"text", text}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  }

  static Json no_tokens() {
    return {{"tokens", Json::array()},
            {"token_logprobs", Json::array()},
            {"top_logprobs", Json::array()},
            {"text_offset", Json::array()}};
  }

  /// The prompt as if it had been written; its first token follows nothing and has no probability.
  Json of_prompt(int64_t choice, size_t prompt) {
    Json shown = entry(choice, prompts_[prompt].text);
    if (!logprobs_) return shown;
    shown["logprobs"] = no_tokens();
    Json& list = shown["logprobs"];
    add_text(token_text(model_, prompts_[prompt].ids.front()), offsets_[choice], list);
    list["token_logprobs"].push_back(nullptr);
    list["top_logprobs"].push_back(nullptr);
    for (const slice::TokenLogprobs& token : scores_[prompt]) add(token, offsets_[choice], list);
    return shown;
  }

  static void add_text(const std::string& text, int64_t& offset, Json& list) {
    list["tokens"].push_back(text);
    list["text_offset"].push_back(offset);
    offset += characters(text);
  }

  /// The token that came is among `top_logprobs` even where others are likelier.
  void add(const slice::TokenLogprobs& token, int64_t& offset, Json& list) const {
    const std::string text = token_text(model_, token.id);
    add_text(text, offset, list);
    list["token_logprobs"].push_back(token.logprob);
    Json top = Json::object();
    for (const auto& [id, logprob] : token.top) top.emplace(token_text(model_, id), logprob);
    top.emplace(text, token.logprob);
    list["top_logprobs"].push_back(std::move(top));
  }

  const ServedModel& model_;
  std::vector<Prompt> prompts_;
  std::vector<std::vector<slice::TokenLogprobs>>
      scores_;  // of the prompts, from their second ids on
  int64_t texts_;
  bool echo_, logprobs_;
  std::map<int64_t, int64_t> offsets_;  // characters so far, by choice
  std::map<size_t, bool> echoed_;       // by prompt
};

}  // namespace

Call read_completion(const Json& body, const ServedModel& model) {
  check_model(body, model);
  Call call;
  call.streaming = read_streaming(body);
  const slice::Request common = read_generation(body, model, kDefaultTokens);
  const bool echo = get<bool>(body, "echo").value_or(false);
  std::optional<int64_t> logprobs;
  if (find(body, "logprobs")) logprobs = integer_in(body, "logprobs", 0, slice::kMostLogprobs, 0);
  std::vector<Prompt> prompts = read_prompts(body, model);
  if (common.constraint && prompts.size() > 1)
    refuse("response_format", "is supported for one prompt at a time");
  if (common.options.max_tokens == 0 && !echo) refuse("max_tokens", "0 is for echo alone");
  for (const Prompt& prompt : prompts) {
    slice::Request& request = call.requests.emplace_back(common);
    request.prompt = prompt.ids;
    request.logprobs = logprobs;
    if (echo) request.prompt_logprobs = logprobs;
  }
  call.form = std::make_unique<CompletionForm>(model, std::move(prompts), common.texts, echo,
                                               logprobs.has_value());
  return call;
}

}  // namespace serve
