// Hunyuan, dense: LLaMA's network with a norm of every query and key head after it has turned.
//   (Transformers, modeling_hunyuan_v1_dense.py)

#include <cmath>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What HunYuanDenseV1Config takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 290943,
                                               .context_length = 2048},
                                     .ffn_size = 11008,
                                     .norm_eps = 1e-5,
                                     .bos_token = 1,
                                     .eos_token = 2,
                                     .pad_token = 0};

/// Dynamic scaling by a constant α is a larger base and nothing else:  θ · α^(d / (d − 2)).
/// @return  α, and the configuration without scaling; 0 where there is none
double take_alpha(json& object, const std::string& origin) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = object.find(key);
    if (rope == object.end() || !rope->is_object() || rope->empty()) continue;
    const auto type = find_field<std::string>(*rope, "rope_type", origin),
               older = find_field<std::string>(*rope, "type", origin);
    const double alpha = find_field<double>(*rope, "alpha", origin).value_or(0);
    if (type.value_or(older.value_or("")) != "dynamic") return 0;
    rope->erase("alpha");
    if (alpha != 0) (*rope)["rope_type"] = "default";
    return alpha;
  }
  return 0;
}

ModelConfig parse(const json& object, const std::string& origin) {
  json own = object;
  const double alpha = take_alpha(own, origin);
  ModelConfig c = parse_llama_keys(own, "hunyuan_dense", kDefaults, origin);
  const auto d = static_cast<double>(c.head_size);
  if (alpha != 0) c.rope_theta *= std::pow(alpha, d / (d - 2));
  c.head_norm = HeadNorm::kEach;
  c.norms_turned_heads = true;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  return object;
}

/// The base in the file has α in it.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "hunyuan_dense");
  refuse_gguf_biases(file, c);
  c.head_norm = HeadNorm::kEach;
  c.norms_turned_heads = true;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& hunyuan_dense() {
  static const Names names = [] {
    Names n = llama_names();
    n.q_norm = "self_attn.query_layernorm";
    n.k_norm = "self_attn.key_layernorm";
    return n;
  }();
  static const Family description = {.name = "hunyuan_dense",
                                     .model_type = "hunyuan_v1_dense",
                                     .architecture = "HunYuanDenseV1ForCausalLM",
                                     .gguf_architecture = "hunyuan-dense",
                                     .names = names,
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
