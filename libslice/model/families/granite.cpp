// Granite 3 and 4, dense: LLaMA's network with constants that embeddings, scores, what sublayers
// add, and logits are multiplied by.   (arXiv 2407.13739)

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

/// What GraniteConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {
    .sizes = {.hidden_size = 4096, .layers = 32, .heads = 32, .vocabulary_size = 32000},
    .ffn_size = 11008,
    .bos_token = 1,
    .eos_token = 2};

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "granite", kDefaults, origin);
  const auto number = [&](const char* key) {
    return find_field<double>(object, key, origin).value_or(1.0);
  };
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  c.mlp_bias = flag_or(object, "mlp_bias", false, origin);
  c.embedding_scale = number("embedding_multiplier");
  c.residual_scale = number("residual_multiplier");
  c.attention_scale = number("attention_multiplier");
  c.logit_scale = 1 / number("logits_scaling");
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  object["mlp_bias"] = c.mlp_bias;
  object["embedding_multiplier"] = c.embedding_scale;
  object["residual_multiplier"] = c.residual_scale;
  object["attention_multiplier"] = c.attention_scale.value_or(1.0);
  object["logits_scaling"] = 1 / c.logit_scale;
  return object;
}

/// A scale of 0 is none, as in llama.cpp.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "granite");
  const auto scale = [&](const char* key, double otherwise) {
    const auto value = file.get<double>(key, 0.0);
    return value == 0 ? otherwise : value;
  };
  c.embedding_scale = scale("granite.embedding_scale", 1);
  c.residual_scale = scale("granite.residual_scale", 1);
  c.attention_scale =
      scale("granite.attention.scale", 1 / std::sqrt(static_cast<double>(c.head_size)));
  c.logit_scale = 1 / scale("granite.logit_scale", 1);
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& granite() {
  static const Family description = {.name = "granite",
                                     .model_type = "granite",
                                     .architecture = "GraniteForCausalLM",
                                     .gguf_architecture = "granite",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
