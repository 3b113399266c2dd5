// Nemotron-4 and Minitron: LayerNorms whose weights are stored without their 1, rotary positions on
// a part of each head, squared ReLU.   (arXiv 2402.16819, 2407.14679)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What NemotronConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 6144,
                                    .layers = 32,
                                    .heads = 48,
                                    .vocabulary_size = 256000,
                                    .context_length = 4096};
constexpr int64_t kFfnSize = 24576, kBos = 2, kEos = 3;
constexpr double kRotated = 0.5;

/// The properties that all Nemotron models share.
void describe_network(ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.gated_mlp = false;
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "nemotron", origin, kDefaults);
  describe_network(c);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "norm_eps", origin).value_or(1e-5);
  parse_rope(object, c, kRotated, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("relu2"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = c.output_bias = find_field<bool>(object, "attention_bias", origin).value_or(false);
  c.mlp_bias = find_field<bool>(object, "mlp_bias", origin).value_or(false);
  if (!object.contains("bos_token_id")) c.bos_token = kBos;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kEos};
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["attention_bias"] = c.output_bias;
  object["mlp_bias"] = c.mlp_bias;
  write_rope(c, object);
  if (!c.rotary_size) object["partial_rotary_factor"] = 1.0;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "nemotron");
  describe_network(c);
  c.norm_eps = file.get<double>("nemotron.attention.layer_norm_epsilon");
  c.activation = Activation::kRelu2;
  parse_gguf_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig&, const std::string& parameter, StoredForm& form) {
  take_one_off_norms(nemotron().names, parameter, form);
}

}  // namespace

const Family& nemotron() {
  static const Family description = {.name = "nemotron",
                                     .model_type = "nemotron",
                                     .architecture = "NemotronForCausalLM",
                                     .gguf_architecture = "nemotron",
                                     .names = ungated_llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
