// GPT-NeoX and Pythia: LayerNorms, rotary positions on a part of each head, GELU, biases in all
// layers; blocks are parallel, with a norm for each branch, or sequential. Files hold q, k and v as
// one tensor, head by head.   (arXiv 2204.06745, 2304.01373)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What GPTNeoXConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 6144, .layers = 44, .heads = 64, .vocabulary_size = 50432};
constexpr int64_t kFfnSize = 24576, kBos = 0, kEos = 2;
constexpr double kRotated = 0.25, kRopeTheta = 10000.0;

/// GPTNeoXConfig's own names of rotary keys instead of the usual ones, and no key that it ignores.
json with_usual_names(const json& object, const std::string& origin) {
  json own = object;
  for (const char* ignored : {"head_dim", "num_key_value_heads"}) own.erase(ignored);
  own["rope_theta"] = find_field<double>(object, "rotary_emb_base", origin).value_or(kRopeTheta);
  own["partial_rotary_factor"] =
      find_field<double>(object, "rotary_pct", origin).value_or(kRotated);
  return own;
}

ModelConfig parse(const json& object, const std::string& origin) {
  const json own = with_usual_names(object, origin);
  ModelConfig c = parse_sizes(own, "gpt_neox", origin, kDefaults);
  c.norm = NormKind::kLayer;
  c.ffn_size = size_or(own, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(own, "layer_norm_eps", origin).value_or(1e-5);
  c.parallel_block = find_field<bool>(own, "use_parallel_residual", origin).value_or(true);
  c.branch_norms = c.parallel_block;
  parse_rope(own, c, kRotated, origin);
  c.gated_mlp = false;
  c.activation =
      parse_activation(find_field<std::string>(own, "hidden_act", origin).value_or("gelu"), origin);
  c.tied_head = find_field<bool>(own, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = c.output_bias = find_field<bool>(own, "attention_bias", origin).value_or(true);
  c.mlp_bias = true;
  if (!own.contains("bos_token_id")) c.bos_token = kBos;
  if (!own.contains("eos_token_id")) c.eos_tokens = {kEos};
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["intermediate_size"] = c.ffn_size;
  object["layer_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["use_parallel_residual"] = c.parallel_block;
  object["attention_bias"] = c.output_bias;
  write_rope(c, object);
  object["rotary_emb_base"] = object["rope_theta"];
  object["rotary_pct"] = c.rotary_size ? object["partial_rotary_factor"] : json(1.0);
  object.erase("rope_theta");
  object.erase("partial_rotary_factor");
  return object;
}

/// llama.cpp computes GELU by its tanh approximation, whatever the model was trained with.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "gpt_neox");
  SLICE_FORMAT_CHECK(c.qkv_bias == c.output_bias && c.mlp_bias && !c.head_bias,
                     "{}: want biases in all layers of a GPT-NeoX", file.path().string());
  c.norm = NormKind::kLayer;
  c.norm_eps = file.get<double>("gptneox.attention.layer_norm_epsilon");
  c.parallel_block = c.branch_norms = file.get<bool>("gptneox.use_parallel_residual", true);
  c.gated_mlp = false;
  c.activation = Activation::kGelu;
  parse_gguf_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  if (const auto part = layer_parameter(gpt_neox().names, parameter))
    fuse_by_key_head(c, gpt_neox().names, *part, "attention.query_key_value", form);
}

}  // namespace

const Family& gpt_neox() {
  static const Family description = {
      .name = "gpt_neox",
      .model_type = "gpt_neox",
      .architecture = "GPTNeoXForCausalLM",
      .gguf_architecture = "gptneox",
      .names = {.embedding = "gpt_neox.embed_in",
                .positions = "",
                .layers = "gpt_neox.layers",
                .final_norm = "gpt_neox.final_layer_norm",
                .head = "embed_out",
                .attention_norm = "input_layernorm",
                .q = "attention.query",
                .k = "attention.key",
                .v = "attention.value",
                .o = "attention.dense",
                .mlp_norm = "post_attention_layernorm",
                .gate = "",
                .up = "mlp.dense_h_to_4h",
                .down = "mlp.dense_4h_to_h"},
      .ignored_suffixes = {"rotary_emb.inv_freq", "attention.bias", "attention.masked_bias"},
      .parse = parse,
      .write = write,
      .parse_gguf = parse_gguf,
      .free_head_size = false,
      .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
