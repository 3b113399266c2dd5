// Phi-1, Phi-1.5 and Phi-2: one LayerNorm before parallel attention and feed-forward, partial
// rotary positions, GELU, biases in all layers and in the head.   (arXiv 2306.11644, 2309.05463)

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

/// What PhiConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 2048, .layers = 24, .heads = 32, .vocabulary_size = 51200};
constexpr int64_t kFfnSize = 8192;
constexpr double kRotated = 0.5;
constexpr int64_t kBos = 1, kEos = 2;

/// The properties that all Phi models share.
void describe_network(ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.parallel_block = true;
  c.gated_mlp = false;
}

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "qk_layernorm", false, origin);
  refuse_unless(object, "tie_word_embeddings", false, origin);
  ModelConfig c = parse_sizes(object, "phi", origin, kDefaults);
  describe_network(c);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "layer_norm_eps", origin).value_or(1e-5);
  parse_rope(object, c, kRotated, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("gelu_new"), origin);
  c.qkv_bias = c.output_bias = c.mlp_bias = c.head_bias = true;
  if (!object.contains("bos_token_id")) c.bos_token = kBos;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kEos};
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  if (c.heads * c.head_size != c.hidden_size) object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  if (c.ffn_size != 4 * c.hidden_size) object["n_inner"] = c.ffn_size;  // what vLLM reads
  object["layer_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["qk_layernorm"] = false;
  write_rope(c, object);
  if (!c.rotary_size) object["partial_rotary_factor"] = 1.0;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "phi");
  describe_network(c);
  SLICE_FORMAT_CHECK(c.qkv_bias && c.output_bias && c.mlp_bias && c.head_bias && !c.tied_head,
                     "{}: want biases in all layers and an untied head in a Phi-2",
                     file.path().string());
  c.norm_eps = file.get<double>("phi2.attention.layer_norm_epsilon");
  parse_gguf_rope(file, c);
  c.activation = Activation::kGeluTanh;
  return c;
}

}  // namespace

const Family& phi() {
  static const Family description = {.name = "phi",
                                     .model_type = "phi",
                                     .architecture = "PhiForCausalLM",
                                     .gguf_architecture = "phi2",
                                     .names = {.embedding = "model.embed_tokens",
                                               .positions = "",
                                               .layers = "model.layers",
                                               .final_norm = "model.final_layernorm",
                                               .head = "lm_head",
                                               .attention_norm = "input_layernorm",
                                               .q = "self_attn.q_proj",
                                               .k = "self_attn.k_proj",
                                               .v = "self_attn.v_proj",
                                               .o = "self_attn.dense",
                                               .mlp_norm = "",
                                               .gate = "",
                                               .up = "mlp.fc1",
                                               .down = "mlp.fc2"},
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .head_bias = true};
  return description;
}

}  // namespace slice::models
