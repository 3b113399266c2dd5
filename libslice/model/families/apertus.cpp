// Apertus: no gate, the activation xIELU with learned constants, norms of queries and keys.
//   (arXiv 2509.14233)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What ApertusConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 131072,
                                               .context_length = 65536},
                                     .ffn_size = 14336,
                                     .norm_eps = 1e-5,
                                     .rope_theta = 12e6,
                                     .bos_token = 1,
                                     .eos_token = 2,
                                     .pad_token = 3};
constexpr const char* kActivation = "xielu";

/// Rotary settings where the file has none.
json usual_rope() {
  return {{"rope_type", "llama3"},  {"rope_theta", 12e6},
          {"factor", 8.0},          {"original_max_position_embeddings", 8192},
          {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};
}

ModelConfig parse(const json& object, const std::string& origin) {
  json own = object;
  const auto settings = [&](const char* key) { return own.contains(key) && !own[key].is_null(); };
  if (!settings("rope_scaling") && !settings("rope_parameters"))
    own["rope_parameters"] = usual_rope();
  const std::string activation =
      detail::find_field<std::string>(object, "hidden_act", origin).value_or(kActivation);
  SLICE_FORMAT_CHECK(activation == kActivation,
                     "{}: hidden_act '{}' is not supported in an Apertus", origin, activation);
  own.erase("hidden_act");
  ModelConfig c = parse_llama_keys(own, "apertus", kDefaults, origin);
  c.activation = Activation::kXielu;
  c.gated_mlp = false;
  c.head_norm = HeadNorm::kEach;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  if (!c.rope_scaling)
    object["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", c.rope_theta}};
  object["hidden_act"] = kActivation;
  object["attention_bias"] = c.qkv_bias;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "apertus");
  SLICE_FORMAT_CHECK(c.qkv_bias == c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want biases on q, k, v and attention's output or none in an Apertus",
                     file.path().string());
  c.activation = Activation::kXielu;
  c.gated_mlp = false;
  c.head_norm = HeadNorm::kEach;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& apertus() {
  static const Names names = [] {
    Names n = ungated_llama_names();
    n.attention_norm = "attention_layernorm";
    n.mlp_norm = "feedforward_layernorm";
    n.q_norm = "self_attn.q_norm";
    n.k_norm = "self_attn.k_norm";
    n.xielu = "mlp.act_fn";
    return n;
  }();
  static const Family description = {.name = "apertus",
                                     .model_type = "apertus",
                                     .architecture = "ApertusForCausalLM",
                                     .gguf_architecture = "apertus",
                                     .names = names,
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
