// Qwen3-MoE: Qwen3's network with a mixture of experts in every layer.   (arXiv 2505.09388)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/expert_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_experts.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Qwen3MoeConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 2048,
                                               .layers = 24,
                                               .heads = 32,
                                               .vocabulary_size = 151936,
                                               .context_length = 32768,
                                               .kv_heads = 4},
                                     .ffn_size = 6144};  // of a layer without experts
constexpr ExpertSizes kExperts = {.count = 128, .per_token = 8};
constexpr int64_t kExpertSize = 768, kWindow = 4096;

/// Refuses layers with one network for all tokens.
void check_layers(const json& object, const std::string& origin) {
  const int64_t step = find_field<int64_t>(object, "decoder_sparse_step", origin).value_or(1);
  SLICE_FORMAT_CHECK(step == 1,
                     "{}: decoder_sparse_step {}: layers without experts are not supported", origin,
                     step);
  const json& plain = detail::array_field(object, "mlp_only_layers", origin);
  SLICE_FORMAT_CHECK(plain.empty(),
                     "{}: mlp_only_layers {}: layers without experts are not supported", origin,
                     plain.dump());
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "qwen3_moe", kDefaults, origin);
  check_layers(object, origin);
  c.ffn_size = size_or(object, "moe_intermediate_size", kExpertSize, origin);
  c.experts = parse_experts(object, kExperts, origin);
  c.experts.normalised = flag_or(object, "norm_topk_prob", false, origin);
  c.head_norm = HeadNorm::kEach;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  if (flag_or(object, "use_sliding_window", false, origin))
    parse_window_size(object, c, kWindow, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["moe_intermediate_size"] = c.ffn_size;
  write_experts(c, object);
  object["norm_topk_prob"] = c.experts.normalised;
  object["decoder_sparse_step"] = 1;
  object["mlp_only_layers"] = json::array();
  object["attention_bias"] = c.qkv_bias;
  object["use_sliding_window"] = c.sliding_window.has_value();
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  return object;
}

/// llama.cpp divides the shares by their sum, and knows no window.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "qwen3_moe");
  refuse_gguf_biases(file, c);
  c.experts = parse_gguf_experts(file, /*normalised=*/true);
  c.head_norm = HeadNorm::kEach;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& qwen3_moe() {
  static const Family description = {.name = "qwen3_moe",
                                     .model_type = "qwen3_moe",
                                     .architecture = "Qwen3MoeForCausalLM",
                                     .gguf_architecture = "qwen3moe",
                                     .names = expert_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
