// Mistral: LLaMA's network with a sliding attention window and no biases.   (arXiv 2310.06825)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What MistralConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 4096,
                                    .layers = 32,
                                    .heads = 32,
                                    .vocabulary_size = 32000,
                                    .context_length = 131072,
                                    .kv_heads = 8};
constexpr int64_t kWindow = 4096, kFfnSize = 14336;

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "mistral", origin, kDefaults);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-6);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a Mistral",
                     origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  parse_window_size(object, c, kWindow, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  write_rope(c, object);
  return object;
}

/// A file of this architecture is a Mistral Small 3 or later, or a Ministral 3, whose queries grow;
/// other Mistrals are a `llama` there.
ModelConfig parse_gguf(const GgufFile& file) {
  const auto growth = file.get<double>("mistral3.attention.temperature_scale", 0.0);
  ModelConfig c = parse_gguf_rms(file, growth == 0 ? "mistral" : "ministral3");
  refuse_gguf_biases(file, c);
  parse_gguf_whole_rope(file, c);
  if (growth != 0) c.query_growth = QueryGrowth{growth, gguf_original_context(file, c)};
  return c;
}

}  // namespace

const Family& mistral() {
  static const Family description = {.name = "mistral",
                                     .model_type = "mistral",
                                     .architecture = "MistralForCausalLM",
                                     .gguf_architecture = "mistral3",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
