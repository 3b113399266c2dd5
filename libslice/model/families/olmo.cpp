// OLMo (the first): LLaMA's network with LayerNorms that have no weights.   (arXiv 2402.00838)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What OlmoConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 4096, .layers = 32, .heads = 32, .vocabulary_size = 50304};
constexpr int64_t kFfnSize = 11008, kEos = 50279, kPad = 1;
constexpr double kEps = 1e-5;  // not in config.json

/// The properties that all OLMo models share.
void describe_network(ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.norm_weight = c.norm_bias = false;
  c.norm_eps = kEps;
}

ModelConfig parse(const json& object, const std::string& origin) {
  const auto clip = find_field<double>(object, "clip_qkv", origin);
  SLICE_FORMAT_CHECK(!clip, "{}: clip_qkv {} is not supported", origin, clip.value_or(0));
  ModelConfig c = parse_sizes(object, "olmo", origin, kDefaults);
  describe_network(c);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in an OLMo",
                     origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = c.output_bias = find_field<bool>(object, "attention_bias", origin).value_or(false);
  if (!object.contains("eos_token_id")) c.eos_tokens = {kEos};
  if (!object.contains("pad_token_id") && c.vocabulary_size > kPad) c.pad_token = kPad;
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["hidden_act"] = activation_name(c.activation);
  object["attention_bias"] = c.qkv_bias;
  object["clip_qkv"] = json();
  write_rope(c, object);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  ModelConfig c = parse_gguf_sizes(file, "olmo");
  describe_network(c);
  SLICE_FORMAT_CHECK(!c.qkv_bias && !c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want no biases in an OLMo", origin);
  const auto clip = file.get<double>("olmo.attention.clamp_kqv", 0.0);
  SLICE_FORMAT_CHECK(clip <= 0, "{}: olmo.attention.clamp_kqv {} is not supported", origin, clip);
  c.norm_eps = file.get<double>("olmo.attention.layer_norm_epsilon", kEps);
  SLICE_FORMAT_CHECK(static_cast<float>(c.norm_eps) == static_cast<float>(kEps),
                     "{}: olmo.attention.layer_norm_epsilon: want {}, got {}", origin, kEps,
                     c.norm_eps);
  c.norm_eps = kEps;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& olmo() {
  static const Family description = {.name = "olmo",
                                     .model_type = "olmo",
                                     .architecture = "OlmoForCausalLM",
                                     .gguf_architecture = "olmo",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .fixed_eps = true};
  return description;
}

}  // namespace slice::models
