// Falcon: LayerNorms before parallel blocks, one for both branches (7B) or one for each (40B, 180B),
// or sequential blocks; rotary positions, GELU, tied head. Files hold q, k and v as one tensor, key
// head by key head.   (arXiv 2311.16867)

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

/// What FalconConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 4544, .layers = 32, .heads = 71, .vocabulary_size = 65024};
constexpr int64_t kFfnFactor = 4, kSpecialToken = 11;

/// The kind of the blocks and their key heads.
void parse_blocks(const json& object, ModelConfig& c, const std::string& origin) {
  const auto flag = [&](const char* key, bool otherwise) {
    return find_field<bool>(object, key, origin).value_or(otherwise);
  };
  const auto norms = find_field<int64_t>(object, "num_ln_in_parallel_attn", origin);
  const auto kv_heads = find_field<int64_t>(object, "num_kv_heads", origin).value_or(c.heads);
  const bool grouped = flag("new_decoder_architecture", false);
  c.parallel_block = flag("parallel_attn", true);
  SLICE_FORMAT_CHECK(!grouped || c.parallel_block,
                     "{}: parallel_attn false with new_decoder_architecture is not supported",
                     origin);
  SLICE_FORMAT_CHECK(!norms || *norms == 1 || (grouped && *norms == 2),
                     "{}: num_ln_in_parallel_attn {} is not supported", origin, norms.value_or(0));
  c.branch_norms = grouped && norms.value_or(2) == 2;
  c.kv_heads = grouped ? kv_heads : flag("multi_query", true) ? 1 : c.heads;
  SLICE_FORMAT_CHECK(grouped || c.kv_heads == 1 || kv_heads == c.heads,
                     "{}: num_kv_heads {} without multi_query is not supported", origin, kv_heads);
}

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "alibi", false, origin);
  json own = object;
  for (const char* ignored : {"head_dim", "num_key_value_heads"}) own.erase(ignored);
  if (own.contains("n_embed") && !own["n_embed"].is_null()) own["hidden_size"] = own["n_embed"];
  ModelConfig c = parse_sizes(own, "falcon", origin, kDefaults);
  c.norm = NormKind::kLayer;
  c.norm_eps = find_field<double>(own, "layer_norm_epsilon", origin).value_or(1e-5);
  c.ffn_size =
      find_field<int64_t>(own, "ffn_hidden_size", origin).value_or(kFfnFactor * c.hidden_size);
  parse_blocks(own, c, origin);
  parse_rope(own, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a Falcon",
                     origin);
  c.gated_mlp = false;
  c.activation =
      parse_activation(find_field<std::string>(own, "activation", origin).value_or("gelu"), origin);
  c.tied_head = find_field<bool>(own, "tie_word_embeddings", origin).value_or(true);
  c.qkv_bias = c.output_bias = c.mlp_bias = find_field<bool>(own, "bias", origin).value_or(false);
  if (!own.contains("bos_token_id")) c.bos_token = kSpecialToken;
  if (!own.contains("eos_token_id")) c.eos_tokens = {kSpecialToken};
  return c;
}

json write(const ModelConfig& c) {
  const bool grouped = c.branch_norms || (c.parallel_block && c.kv_heads > 1);
  json object = sizes_json(c);
  object["num_kv_heads"] = c.kv_heads == 1 && !grouped ? c.heads : c.kv_heads;
  object["multi_query"] = c.kv_heads == 1;
  object["new_decoder_architecture"] = grouped;
  object["parallel_attn"] = c.parallel_block;
  object["num_ln_in_parallel_attn"] = c.branch_norms ? 2 : 1;
  object["alibi"] = false;
  object["ffn_hidden_size"] = c.ffn_size;
  object["layer_norm_epsilon"] = c.norm_eps;
  object["activation"] = activation_name(c.activation);
  object["bias"] = c.output_bias;
  write_rope(c, object);
  return object;
}

/// llama.cpp computes GELU by its tanh approximation, whatever the model was trained with.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "falcon");
  refuse_gguf_biases(file, c);
  c.norm = NormKind::kLayer;
  c.norm_eps = file.get<double>("falcon.attention.layer_norm_epsilon");
  c.parallel_block = true;
  c.branch_norms = file.tensors().contains("blk.0.attn_norm_2.weight");
  c.gated_mlp = false;
  c.activation = Activation::kGelu;
  parse_gguf_whole_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  const Names& names = falcon().names;
  const auto part = layer_parameter(names, parameter);
  if (!part) return;
  fuse_by_key_head(c, names, *part, "self_attention.query_key_value", form);
  if (!c.branch_norms) return;
  const std::string root = names.layers + "." + std::to_string(part->layer) + ".";
  if (part->module == names.attention_norm) form.tensor = root + "ln_attn" + part->kind;
  if (part->module == names.mlp_norm) form.tensor = root + "ln_mlp" + part->kind;
}

}  // namespace

const Family& falcon() {
  static const Family description = {.name = "falcon",
                                     .model_type = "falcon",
                                     .architecture = "FalconForCausalLM",
                                     .gguf_architecture = "falcon",
                                     .names = {.embedding = "transformer.word_embeddings",
                                               .positions = "",
                                               .layers = "transformer.h",
                                               .final_norm = "transformer.ln_f",
                                               .head = "lm_head",
                                               .attention_norm = "input_layernorm",
                                               .q = "self_attention.query",
                                               .k = "self_attention.key",
                                               .v = "self_attention.value",
                                               .o = "self_attention.dense",
                                               .mlp_norm = "post_attention_layernorm",
                                               .gate = "",
                                               .up = "mlp.dense_h_to_4h",
                                               .down = "mlp.dense_4h_to_h"},
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .free_head_size = false,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
