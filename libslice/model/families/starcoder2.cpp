// StarCoder2: LayerNorm, rotary positions, a sliding window, GELU, biases in all layers or in none.
//   (arXiv 2402.19173)

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

/// What Starcoder2Config takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 3072,
                                    .layers = 30,
                                    .heads = 24,
                                    .vocabulary_size = 49152,
                                    .context_length = 4096,
                                    .kv_heads = 2};
constexpr int64_t kFfnSize = 12288, kSpecialToken = 50256;

/// The properties that all StarCoder2 models share.
void describe_network(ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.gated_mlp = false;
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "starcoder2", origin, kDefaults);
  describe_network(c);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "norm_epsilon", origin).value_or(1e-5);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a StarCoder2",
                     origin);
  c.sliding_window = find_field<int64_t>(object, "sliding_window", origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("gelu_pytorch_tanh"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(true);
  c.qkv_bias = c.output_bias = c.mlp_bias =
      find_field<bool>(object, "use_bias", origin).value_or(true);
  if (!object.contains("bos_token_id")) c.bos_token = kSpecialToken;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kSpecialToken};
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["norm_epsilon"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object["use_bias"] = c.output_bias;
  write_rope(c, object);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  ModelConfig c = parse_gguf_sizes(file, "starcoder2");
  describe_network(c);
  SLICE_FORMAT_CHECK(c.qkv_bias == c.output_bias && c.qkv_bias == c.mlp_bias && !c.head_bias,
                     "{}: want biases in all layers or in none of a StarCoder2", origin);
  c.norm_eps = file.get<double>("starcoder2.attention.layer_norm_epsilon");
  parse_gguf_whole_rope(file, c);
  c.activation = Activation::kGeluTanh;
  return c;
}

const Names& names() {
  static const Names own = [] {
    Names n = llama_names();
    n.gate = "";
    n.up = "mlp.c_fc";
    n.down = "mlp.c_proj";
    return n;
  }();
  return own;
}

}  // namespace

const Family& starcoder2() {
  static const Family description = {.name = "starcoder2",
                                     .model_type = "starcoder2",
                                     .architecture = "Starcoder2ForCausalLM",
                                     .gguf_architecture = "starcoder2",
                                     .names = names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
