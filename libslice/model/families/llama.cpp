// LLaMA: RMSNorm, rotary positions, grouped queries, gated SiLU feed-forward.
//   (arXiv 2302.13971, 2307.09288)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_experts.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What LlamaConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 4096, .layers = 32, .heads = 32, .vocabulary_size = 32000};
constexpr int64_t kFfnSize = 11008;

ModelConfig parse(const json& object, const std::string& origin) {
  const auto flag = [&](const char* key) {
    return find_field<bool>(object, key, origin).value_or(false);
  };
  ModelConfig c = parse_sizes(object, "llama", origin, kDefaults);
  const auto window = find_field<int64_t>(object, "sliding_window", origin);
  if (window && find_field<bool>(object, "use_sliding_window", origin).value_or(true))
    detail::warn("{}: sliding_window {} is not used: a LLaMA attends to all positions", origin,
                 *window);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-6);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a LLaMA",
                     origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = flag("tie_word_embeddings");
  c.qkv_bias = c.output_bias = flag("attention_bias");
  c.mlp_bias = flag("mlp_bias");
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["attention_bias"] = c.qkv_bias;
  object["mlp_bias"] = c.mlp_bias;
  write_rope(c, object);
  return object;
}

/// A `llama` with experts.
ModelConfig parse_mixtral(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "mixtral");
  refuse_gguf_biases(file, c);
  c.experts = parse_gguf_experts(file, /*normalised=*/true);
  parse_gguf_whole_rope(file, c);
  const auto window = file.get<int64_t>(gguf_key(file, "attention.sliding_window"), 0);
  if (window > 0) c.sliding_window = window;
  return c;
}

/// Mixtral and Mistral are a `llama` in llama.cpp too; the first has experts, the second a sliding
/// window. A `llama` with biases on q, k and v only is a Qwen2 with a head size other than D / h
/// (gguf_write.h).
ModelConfig parse_gguf(const GgufFile& file) {
  const bool even = file.get<std::string>("general.architecture") == "llama";
  if (even && gguf_routed(file)) return parse_mixtral(file);
  ModelConfig c = parse_gguf_rms(file, "llama");
  if (file.tensors().contains("blk.0.attn_v.bias") && !c.output_bias && !c.mlp_bias)
    c.family = "qwen2";
  c.output_bias = c.qkv_bias && c.family == "llama";  // all four or none, as in config.json
  parse_gguf_whole_rope(file, c);
  if (const auto window = file.get<int64_t>(gguf_key(file, "attention.sliding_window"), 0);
      window > 0) {
    c.family = "mistral";
    c.sliding_window = window;
  }
  return c;
}

}  // namespace

const Names& llama_names() {
  static const Names names = {.embedding = "model.embed_tokens",
                              .positions = "",
                              .layers = "model.layers",
                              .final_norm = "model.norm",
                              .head = "lm_head",
                              .attention_norm = "input_layernorm",
                              .q = "self_attn.q_proj",
                              .k = "self_attn.k_proj",
                              .v = "self_attn.v_proj",
                              .o = "self_attn.o_proj",
                              .mlp_norm = "post_attention_layernorm",
                              .gate = "mlp.gate_proj",
                              .up = "mlp.up_proj",
                              .down = "mlp.down_proj"};
  return names;
}

const Family& llama() {
  static const Family description = {.name = "llama",
                                     .model_type = "llama",
                                     .architecture = "LlamaForCausalLM",
                                     .gguf_architecture = "llama",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
