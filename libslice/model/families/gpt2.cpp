// GPT-2: LayerNorms, learned positions, GELU, biases in all layers, tied head. Files hold matrices
// transposed, and q, k and v as one.   (Radford et al. 2019)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gpt2_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What GPT2Config takes for missing keys.
constexpr Gpt2Defaults kDefaults = {.hidden_size = 768,
                                    .layers = 12,
                                    .heads = 12,
                                    .vocabulary_size = 50257,
                                    .context_length = 1024};

/// The properties that all GPT-2 models share.
void describe_network(ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.learned_positions = c.context_length;
  c.gated_mlp = false;
  c.qkv_bias = c.output_bias = c.mlp_bias = true;
}

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "scale_attn_by_inverse_layer_idx", false, origin);
  refuse_unless(object, "add_cross_attention", false, origin);
  ModelConfig c = parse_gpt2_keys(object, "gpt2", kDefaults, origin);
  describe_network(c);
  if (!find_field<bool>(object, "scale_attn_weights", origin).value_or(true)) c.attention_scale = 1;
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(true);
  return c;
}

json write(const ModelConfig& c) {
  json object = gpt2_keys_json(c);
  object["scale_attn_weights"] = !c.attention_scale.has_value();
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "gpt2");
  SLICE_FORMAT_CHECK(c.qkv_bias && c.output_bias && c.mlp_bias && !c.head_bias,
                     "{}: want biases in all layers of a GPT-2", file.path().string());
  describe_network(c);
  c.norm_eps = file.get<double>("gpt2.attention.layer_norm_epsilon");
  c.activation = Activation::kGeluTanh;
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  const auto part = layer_parameter(gpt2().names, parameter);
  if (!part || part->module == gpt2().names.attention_norm ||
      part->module == gpt2().names.mlp_norm || part->module.ends_with("_shortcut"))
    return;
  fuse_queries_keys_values(c, gpt2().names, *part, "attn.c_attn", form);
  form.transposed = part->kind == ".weight";
}

}  // namespace

const Family& gpt2() {
  static const Family description = {.name = "gpt2",
                                     .model_type = "gpt2",
                                     .architecture = "GPT2LMHeadModel",
                                     .gguf_architecture = "gpt2",
                                     .names = {.embedding = "transformer.wte",
                                               .positions = "transformer.wpe",
                                               .layers = "transformer.h",
                                               .final_norm = "transformer.ln_f",
                                               .head = "lm_head",
                                               .attention_norm = "ln_1",
                                               .q = "attn.q",
                                               .k = "attn.k",
                                               .v = "attn.v",
                                               .o = "attn.c_proj",
                                               .mlp_norm = "ln_2",
                                               .gate = "",
                                               .up = "mlp.c_fc",
                                               .down = "mlp.c_proj"},
                                     .ignored_suffixes = {"attn.bias", "attn.masked_bias"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .free_head_size = false,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
