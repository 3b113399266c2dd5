// Gemma 1: LLaMA's network with GELU, embeddings times √D, and norms whose weights are stored
// without their 1.   (arXiv 2403.08295)

#include <cmath>
#include <nlohmann/json.hpp>

#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What GemmaConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 3072,
                                               .layers = 28,
                                               .heads = 16,
                                               .vocabulary_size = 256000,
                                               .context_length = 8192,
                                               .kv_heads = 16,
                                               .head_size = 256},
                                     .ffn_size = 24576,
                                     .activation = "gelu_pytorch_tanh",
                                     .tied_head = true,
                                     .bos_token = 2,
                                     .eos_token = 1,
                                     .pad_token = 0};

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "use_bidirectional_attention", false, origin);
  ModelConfig c = parse_llama_keys(object, "gemma", kDefaults, origin);
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  // The first files say "gelu" and mean this.
  if (c.activation == Activation::kGelu) c.activation = Activation::kGeluTanh;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  if (c.activation == Activation::kGeluTanh) object["hidden_act"] = "gelu_pytorch_tanh";
  object["attention_bias"] = c.qkv_bias;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "gemma");
  refuse_gguf_biases(file, c);
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  c.activation = Activation::kGeluTanh;
  parse_gguf_whole_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig&, const std::string& parameter, StoredForm& form) {
  take_one_off_norms(gemma().names, parameter, form);
}

}  // namespace

const Family& gemma() {
  static const Family description = {.name = "gemma",
                                     .model_type = "gemma",
                                     .architecture = "GemmaForCausalLM",
                                     .gguf_architecture = "gemma",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored,
                                     .root_embedding_scale = true};
  return description;
}

}  // namespace slice::models
