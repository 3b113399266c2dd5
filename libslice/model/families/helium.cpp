// Helium: LLaMA's network whose files turn neighbouring coordinates of a head together.
//   (huggingface.co/kyutai/helium-1-2b)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/llama_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What HeliumConfig takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 2560,
                                               .layers = 24,
                                               .heads = 20,
                                               .vocabulary_size = 48000,
                                               .context_length = 4096,
                                               .kv_heads = 20,
                                               .head_size = 128},
                                     .ffn_size = 7040,
                                     .norm_eps = 1e-8,
                                     .rope_theta = 100000.0,
                                     .bos_token = 1,
                                     .eos_token = 2,
                                     .pad_token = 3};

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "helium", kDefaults, origin);
  SLICE_FORMAT_CHECK(c.heads * c.head_size == c.hidden_size,
                     "{}: head_dim: want hidden_size / num_attention_heads in a Helium, got {}",
                     origin, c.head_size);
  c.qkv_bias = flag_or(object, "attention_bias", false, origin);
  c.mlp_bias = flag_or(object, "mlp_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  object["mlp_bias"] = c.mlp_bias;
  return object;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  turn_neighbours(c, helium().names, parameter, form);
}

}  // namespace

const Family& helium() {
  static const Family description = {.name = "helium",
                                     .model_type = "helium",
                                     .architecture = "HeliumForCausalLM",
                                     .gguf_architecture = "",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = nullptr,
                                     .free_head_size = false,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
