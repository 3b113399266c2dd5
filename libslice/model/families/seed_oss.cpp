// Seed-OSS: LLaMA's network with biases on q, k and v.   (github.com/ByteDance-Seed/seed-oss)

#include <nlohmann/json.hpp>

#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What SeedOssConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 64,
                                               .heads = 80,
                                               .vocabulary_size = 155136,
                                               .context_length = 524288,
                                               .kv_heads = 8,
                                               .head_size = 128},
                                     .ffn_size = 27648,
                                     .bos_token = 0,
                                     .eos_token = 2,
                                     .pad_token = 1};

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "seed_oss", kDefaults, origin);
  c.qkv_bias = flag_or(object, "attention_bias", true, origin);
  c.output_bias = flag_or(object, "attention_out_bias", false, origin);
  c.mlp_bias = flag_or(object, "mlp_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  object["attention_out_bias"] = c.output_bias;
  object["mlp_bias"] = c.mlp_bias;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "seed_oss");
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& seed_oss() {
  static const Family description = {.name = "seed_oss",
                                     .model_type = "seed_oss",
                                     .architecture = "SeedOssForCausalLM",
                                     .gguf_architecture = "seed_oss",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
