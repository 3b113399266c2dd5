// Arcee (AFM): LLaMA's network with a feed-forward network of squared ReLU, without a gate.
//   (huggingface.co/arcee-ai/AFM-4.5B)

#include <nlohmann/json.hpp>

#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What ArceeConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 2560,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 32000,
                                               .context_length = 4096},
                                     .ffn_size = 18432,
                                     .norm_eps = 1e-5,
                                     .activation = "relu2",
                                     .bos_token = 128000,
                                     .eos_token = 128001};

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "arcee", kDefaults, origin);
  c.gated_mlp = false;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  c.mlp_bias = flag_or(object, "mlp_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  object["mlp_bias"] = c.mlp_bias;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "arcee");
  refuse_gguf_biases(file, c);
  c.gated_mlp = false;
  c.activation = Activation::kRelu2;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& arcee() {
  static const Family description = {.name = "arcee",
                                     .model_type = "arcee",
                                     .architecture = "ArceeForCausalLM",
                                     .gguf_architecture = "arcee",
                                     .names = ungated_llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .whole_heads = true};
  return description;
}

}  // namespace slice::models
