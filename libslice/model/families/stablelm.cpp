// StableLM, StableLM 2 and StableLM Zephyr: LayerNorm, rotary positions on a part of each head,
// gated SiLU, biases on q, k and v in some, parallel blocks in some.   (arXiv 2402.17834)

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

/// What StableLmConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 2560,
                                    .layers = 32,
                                    .heads = 32,
                                    .vocabulary_size = 50304,
                                    .context_length = 4096,
                                    .kv_heads = 32};
constexpr int64_t kFfnSize = 6912, kSpecialToken = 0;
constexpr double kRotated = 0.25;

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "qk_layernorm", false, origin);
  ModelConfig c = parse_sizes(object, "stablelm", origin, kDefaults);
  SLICE_FORMAT_CHECK(c.heads * c.head_size == c.hidden_size,
                     "{}: head_dim {} is not supported in a StableLM: want hidden_size {} / {} "
                     "heads",
                     origin, c.head_size, c.hidden_size, c.heads);
  c.norm = NormKind::kLayer;
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "layer_norm_eps", origin).value_or(1e-5);
  c.parallel_block = find_field<bool>(object, "use_parallel_residual", origin).value_or(false);
  parse_rope(object, c, kRotated, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = find_field<bool>(object, "use_qkv_bias", origin).value_or(false);
  if (!object.contains("bos_token_id")) c.bos_token = kSpecialToken;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kSpecialToken};
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["intermediate_size"] = c.ffn_size;
  object["layer_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["use_parallel_residual"] = c.parallel_block;
  object["use_qkv_bias"] = c.qkv_bias;
  object["qk_layernorm"] = false;
  write_rope(c, object);
  if (!c.rotary_size) object["partial_rotary_factor"] = 1.0;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "stablelm");
  SLICE_FORMAT_CHECK(!c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want biases on q, k and v at most in a StableLM", file.path().string());
  c.norm = NormKind::kLayer;
  c.norm_eps = file.get<double>("stablelm.attention.layer_norm_epsilon");
  c.parallel_block = !file.tensors().contains("blk.0.ffn_norm.weight");
  parse_gguf_rope(file, c);
  return c;
}

}  // namespace

const Family& stablelm() {
  static const Family description = {.name = "stablelm",
                                     .model_type = "stablelm",
                                     .architecture = "StableLmForCausalLM",
                                     .gguf_architecture = "stablelm",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .free_head_size = false};
  return description;
}

}  // namespace slice::models
