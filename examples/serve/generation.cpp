#include "examples/serve/generation.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

#include "examples/serve/response_format.h"

namespace serve {
namespace {

constexpr int64_t kMostStops = 16, kMostBias = 4096, kMostPriority = 1'000'000;

std::vector<std::string> read_stops(const Json& body) {
  const Json* stop = find(body, "stop");
  if (stop == nullptr) return {};
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  if (std::cmp_greater(list.size(), kMostStops))
    refuse("stop", "want at most " + std::to_string(kMostStops) + " strings");
  std::vector<std::string> stops;
  for (const Json& text : list) {
    if (!text.is_string()) refuse("stop", "want a string or an array of strings");
    if (!text.get_ref<const std::string&>().empty()) stops.push_back(text);
  }
  return stops;
}

std::map<int64_t, double> read_bias(const Json& body) {
  const Json* bias = find(body, "logit_bias");
  if (bias == nullptr) return {};
  if (!bias->is_object()) refuse("logit_bias", "want an object of token ids and numbers");
  if (std::cmp_greater(bias->size(), kMostBias)) refuse("logit_bias", "too many tokens");
  std::map<int64_t, double> values;
  for (const auto& [key, value] : bias->items()) {
    int64_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size())
      refuse("logit_bias", "'" + key + "' is no token id");
    if (!value.is_number() || std::abs(value.get<double>()) > 100)
      refuse("logit_bias", "want numbers from -100 to 100");
    values[id] = value;
  }
  return values;
}

slice::LogitRules read_rules(const Json& body) {
  slice::LogitRules rules;
  rules.bias = read_bias(body);
  rules.repetition_penalty = number_in(body, "repetition_penalty", 1e-3, 1e3, 1);
  rules.presence_penalty = number_in(body, "presence_penalty", -2, 2, 0);
  rules.frequency_penalty = number_in(body, "frequency_penalty", -2, 2, 0);
  rules.min_p = number_in(body, "min_p", 0, 1, 0);
  // -1 and 0 are vLLM's and llama.cpp's words for all tokens.
  rules.top_k = std::max<int64_t>(integer_in(body, "top_k", -1, INT32_MAX, 0), 0);
  return rules;
}

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

/// Fields that would change the answer and are not done here.
void refuse_others(const Json& body, int64_t texts) {
  const auto unless = [&](const char* name, const Json& harmless) {
    const Json* value = find(body, name);
    if (value != nullptr && *value != harmless) refuse(name, "is not supported");
  };
  unless("best_of", texts);
  unless("suffix", "");
  unless("use_beam_search", false);
  unless("prompt_embeds", Json::array());
  unless("min_tokens", 0);
  unless("guided_json", Json());
  unless("guided_regex", Json());
  unless("guided_grammar", Json());
  unless("guided_choice", Json());
  unless("structured_outputs", Json());
  unless("grammar", "");
}

}  // namespace

slice::Request read_generation(const Json& body, const ServedModel& model, int64_t absent_tokens) {
  slice::Request request;
  request.texts = integer_in(body, "n", 1, slice::kMostTexts, 1);
  refuse_others(body, request.texts);
  const char* limit = find(body, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  request.options.max_tokens = integer_in(body, limit, 0, INT32_MAX, absent_tokens);
  request.options.sampling.temperature = number_in(body, "temperature", 0, 100, 1);
  request.options.sampling.top_p = number_in(body, "top_p", 0, 1, 1);
  if (request.options.sampling.top_p == 0) refuse("top_p", "want more than 0");
  const auto seed = get<int64_t>(body, "seed");
  request.options.seed = seed ? static_cast<uint64_t>(*seed) : random_seed();
  if (const Json* ids = find(body, "stop_token_ids"))
    request.options.stop_tokens = as_integers(*ids, "stop_token_ids");
  request.stop_strings = read_stops(body);
  request.ignore_end_tokens = get<bool>(body, "ignore_eos").value_or(false);
  request.rules = read_rules(body);
  request.priority =
      static_cast<int>(integer_in(body, "priority", -kMostPriority, kMostPriority, 0));
  request.constraint = read_response_format(body, model, request.texts);
  if (request.constraint && request.ignore_end_tokens)
    refuse("ignore_eos", "is not supported beside a response_format of JSON");
  return request;
}

void check_model(const Json& body, const ServedModel& model) {
  const auto name = get<std::string>(body, "model");
  if (name && *name != model.name) {
    throw ApiError(404,
                   "the model '" + *name + "' is not here; this server has '" + model.name + "'",
                   "model", "model_not_found");
  }
}

void check_prompt(const std::vector<int64_t>& prompt, const ServedModel& model,
                  const std::string& field) {
  if (prompt.empty()) refuse(field, "has no tokens");
  if (std::cmp_less(prompt.size(), model.capacity)) return;
  throw ApiError(400,
                 field + ": " + std::to_string(prompt.size()) +
                     " tokens, of which a text has at most " + std::to_string(model.capacity) +
                     " with its answer",
                 field, "context_length_exceeded");
}

Streaming read_streaming(const Json& body) {
  Streaming streaming{.stream = get<bool>(body, "stream").value_or(false)};
  const Json* options = find(body, "stream_options");
  if (options == nullptr) return streaming;
  if (!options->is_object()) refuse("stream_options", "want an object");
  if (!streaming.stream) refuse("stream_options", "is for streams alone");
  streaming.usage = get<bool>(*options, "include_usage").value_or(false);
  return streaming;
}

}  // namespace serve
