// OLMoE: a mixture of experts in every layer, norms over all queries and over all keys.
//   (arXiv 2409.02060)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/expert_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_experts.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What OlmoeConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 2048,
                                               .layers = 16,
                                               .heads = 16,
                                               .vocabulary_size = 50304,
                                               .context_length = 4096},
                                     .ffn_size = 2048,
                                     .norm_eps = 1e-5,
                                     .eos_token = 50279,
                                     .pad_token = 1};
constexpr ExpertSizes kExperts = {.count = 64, .per_token = 8};

ModelConfig parse(const json& object, const std::string& origin) {
  const auto clip = object.find("clip_qkv");
  SLICE_FORMAT_CHECK(clip == object.end() || clip->is_null(), "{}: clip_qkv is not supported",
                     origin);
  ModelConfig c = parse_llama_keys(object, "olmoe", kDefaults, origin);
  SLICE_FORMAT_CHECK(c.heads * c.head_size == c.hidden_size,
                     "{}: head_dim: in an OLMoE want hidden_size / num_attention_heads, got {}",
                     origin, c.head_size);
  c.experts = parse_experts(object, kExperts, origin);
  c.experts.normalised = flag_or(object, "norm_topk_prob", false, origin);
  c.head_norm = HeadNorm::kAll;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object.erase("head_dim");
  object["num_experts"] = c.experts.count;
  object["num_experts_per_tok"] = c.experts.per_token;
  object["norm_topk_prob"] = c.experts.normalised;
  object["attention_bias"] = c.qkv_bias;
  object["clip_qkv"] = json();
  return object;
}

/// llama.cpp leaves the shares as the softmax gives them.
ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  ModelConfig c = parse_gguf_rms(file, "olmoe");
  refuse_gguf_biases(file, c);
  const auto clip = file.get<double>("olmoe.attention.clamp_kqv", 0.0);
  SLICE_FORMAT_CHECK(clip <= 0, "{}: olmoe.attention.clamp_kqv {} is not supported", origin, clip);
  SLICE_FORMAT_CHECK(c.heads * c.head_size == c.hidden_size,
                     "{}: olmoe.attention.key_length: want {} / {} heads, got {}", origin,
                     c.hidden_size, c.heads, c.head_size);
  c.experts = parse_gguf_experts(file, /*normalised=*/false);
  c.head_norm = HeadNorm::kAll;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& olmoe() {
  static const Family description = {.name = "olmoe",
                                     .model_type = "olmoe",
                                     .architecture = "OlmoeForCausalLM",
                                     .gguf_architecture = "olmoe",
                                     .names = expert_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .free_head_size = false};  // its norms are as wide as D
  return description;
}

}  // namespace slice::models
