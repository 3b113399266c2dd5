#include "libslice/model/families/cohere_keys.h"

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"

namespace slice::models {

using detail::find_field;
using nlohmann::json;

namespace {

/// What CohereConfig and Cohere2Config take for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 8192,
                                    .layers = 40,
                                    .heads = 64,
                                    .vocabulary_size = 256000,
                                    .context_length = 8192};
constexpr int64_t kFfnSize = 22528, kBos = 5, kEos = 255001, kPad = 0;
constexpr double kLogitScale = 0.0625;

}  // namespace

ModelConfig parse_cohere_keys(const json& object, const std::string& family, double rope_theta,
                              const std::string& origin) {
  json own = object;
  if (!own.contains("rope_theta")) own["rope_theta"] = rope_theta;
  ModelConfig c = parse_sizes(own, family, origin, kDefaults);
  c.norm = NormKind::kLayer;
  c.norm_bias = false;
  c.parallel_block = true;
  c.ffn_size = size_or(own, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(own, "layer_norm_eps", origin).value_or(1e-5);
  c.logit_scale = find_field<double>(own, "logit_scale", origin).value_or(kLogitScale);
  parse_rope(own, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a Cohere",
                     origin);
  c.activation =
      parse_activation(find_field<std::string>(own, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(own, "tie_word_embeddings", origin).value_or(true);
  c.qkv_bias = c.output_bias = find_field<bool>(own, "attention_bias", origin).value_or(false);
  if (!own.contains("bos_token_id")) c.bos_token = kBos;
  if (!own.contains("eos_token_id")) c.eos_tokens = {kEos};
  if (!own.contains("pad_token_id")) c.pad_token = kPad;
  return c;
}

json cohere_keys_json(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["intermediate_size"] = c.ffn_size;
  object["layer_norm_eps"] = c.norm_eps;
  object["logit_scale"] = c.logit_scale;
  object["hidden_act"] = activation_name(c.activation);
  object["attention_bias"] = c.output_bias;
  write_rope(c, object);
  return object;
}

}  // namespace slice::models
