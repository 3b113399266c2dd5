// Mixtral: Mistral's network with a mixture of experts in every layer.   (arXiv 2401.04088)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/expert_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What MixtralConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 32000,
                                               .context_length = 131072,
                                               .kv_heads = 8},
                                     .ffn_size = 14336,
                                     .norm_eps = 1e-5,
                                     .rope_theta = 1e6,
                                     .bos_token = 1,
                                     .eos_token = 2};
constexpr ExpertSizes kExperts = {.count = 8, .per_token = 2, .normalised = true};

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "mixtral", kDefaults, origin);
  c.experts = parse_experts(object, kExperts, origin);
  c.sliding_window = detail::find_field<int64_t>(object, "sliding_window", origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  write_experts(c, object);
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  return object;
}

}  // namespace

const Family& mixtral() {
  static const Names names = [] {
    Names n = llama_names();
    n.router = "block_sparse_moe.gate";
    n.experts = "block_sparse_moe.experts";
    n.gate = "w1";
    n.up = "w3";
    n.down = "w2";
    return n;
  }();
  static const Family description = {.name = "mixtral",
                                     .model_type = "mixtral",
                                     .architecture = "MixtralForCausalLM",
                                     .gguf_architecture = "",
                                     .names = names,
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = nullptr};
  return description;
}

}  // namespace slice::models
