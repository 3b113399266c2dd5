#include "libslice/model/families/gpt2_keys.h"

#include <utility>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"

namespace slice::models {

using detail::find_field;
using nlohmann::json;

namespace {

/// GPT-2's names of sizes and the usual ones. Its configuration takes both.
constexpr std::pair<const char*, const char*> kSizes[] = {
    {"n_embd", "hidden_size"},
    {"n_layer", "num_hidden_layers"},
    {"n_head", "num_attention_heads"},
    {"n_positions", "max_position_embeddings"}};
constexpr int64_t kSpecialToken = 50256, kFfnFactor = 4;

}  // namespace

ModelConfig parse_gpt2_keys(const json& object, const std::string& family,
                            const Gpt2Defaults& defaults, const std::string& origin) {
  json own = object;
  for (const char* ignored : {"head_dim", "num_key_value_heads"}) own.erase(ignored);
  for (const auto& [theirs, usual] : kSizes)
    if (own.contains(theirs)) own[usual] = own[theirs];
  ModelConfig c = parse_sizes(own, family, origin,
                              {.hidden_size = defaults.hidden_size,
                               .layers = defaults.layers,
                               .heads = defaults.heads,
                               .vocabulary_size = defaults.vocabulary_size,
                               .context_length = defaults.context_length});
  c.norm = NormKind::kLayer;
  c.norm_eps = find_field<double>(own, "layer_norm_epsilon", origin).value_or(1e-5);
  c.ffn_size = find_field<int64_t>(own, "n_inner", origin).value_or(kFfnFactor * c.hidden_size);
  c.gated_mlp = false;
  c.activation = parse_activation(
      find_field<std::string>(own, "activation_function", origin).value_or("gelu_new"), origin);
  if (!own.contains("bos_token_id")) c.bos_token = kSpecialToken;
  if (!own.contains("eos_token_id")) c.eos_tokens = {kSpecialToken};
  return c;
}

json gpt2_keys_json(const ModelConfig& c) {
  const json usual = sizes_json(c);
  json object;
  for (const auto& [theirs, name] : kSizes) object[theirs] = usual[name];
  object["n_inner"] = c.ffn_size;
  object["layer_norm_epsilon"] = c.norm_eps;
  object["activation_function"] = activation_name(c.activation);
  return object;
}

}  // namespace slice::models
