// Ministral: Mistral's network of which some layers have the sliding window and some see every
// position.

#include <nlohmann/json.hpp>

#include "libslice/model/families/family.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What MinistralConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 32000,
                                               .context_length = 131072,
                                               .kv_heads = 8},
                                     .ffn_size = 14336,
                                     .bos_token = 1,
                                     .eos_token = 2};
constexpr int64_t kWindow = 4096;

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "ministral", kDefaults, origin);
  parse_window_size(object, c, kWindow, origin);
  parse_layer_types(object, c, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object["layer_types"] = layer_types_json(c);
  return object;
}

}  // namespace

const Family& ministral() {
  static const Family description = {.name = "ministral",
                                     .model_type = "ministral",
                                     .architecture = "MinistralForCausalLM",
                                     .gguf_architecture = "",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = nullptr};
  return description;
}

}  // namespace slice::models
