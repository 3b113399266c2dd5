// GPT-J: one LayerNorm before parallel attention and feed-forward, rotary positions on a part of
// each head, GELU, biases in the feed-forward network and in the head. Files turn neighbouring
// coordinates of a head together.   (github.com/kingoflolz/mesh-transformer-jax)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gpt2_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What GPTJConfig takes for missing keys.
constexpr Gpt2Defaults kDefaults = {.hidden_size = 4096,
                                    .layers = 28,
                                    .heads = 16,
                                    .vocabulary_size = 50400,
                                    .context_length = 2048};
constexpr int64_t kTurning = 64;

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "tie_word_embeddings", false, origin);
  ModelConfig c = parse_gpt2_keys(object, "gptj", kDefaults, origin);
  c.parallel_block = true;
  c.mlp_bias = c.head_bias = true;
  const int64_t turning = size_or(object, "rotary_dim", kTurning, origin);
  if (turning != c.head_size) c.rotary_size = turning;
  return c;
}

json write(const ModelConfig& c) {
  json object = gpt2_keys_json(c);
  object["rotary_dim"] = c.rotary_size.value_or(c.head_size);
  return object;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  turn_neighbours(c, gptj().names, parameter, form);
}

}  // namespace

const Family& gptj() {
  static const Family description = {.name = "gptj",
                                     .model_type = "gptj",
                                     .architecture = "GPTJForCausalLM",
                                     .gguf_architecture = "",
                                     .names = {.embedding = "transformer.wte",
                                               .positions = "",
                                               .layers = "transformer.h",
                                               .final_norm = "transformer.ln_f",
                                               .head = "lm_head",
                                               .attention_norm = "ln_1",
                                               .q = "attn.q_proj",
                                               .k = "attn.k_proj",
                                               .v = "attn.v_proj",
                                               .o = "attn.out_proj",
                                               .mlp_norm = "",
                                               .gate = "",
                                               .up = "mlp.fc_in",
                                               .down = "mlp.fc_out"},
                                     .ignored_suffixes = {"attn.bias", "attn.masked_bias"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = nullptr,
                                     .free_head_size = false,
                                     .head_bias = true,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
