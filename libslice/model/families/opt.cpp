// OPT: LayerNorm, learned positions, ReLU feed-forward, biases, tied head.    (arXiv 2205.01068)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What OPTConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 768, .layers = 12, .heads = 12, .vocabulary_size = 50272};
constexpr int64_t kFfnSize = 3072;
constexpr int64_t kPositionOffset = 2;  // the first two rows of the table have no position
constexpr int64_t kSpecialToken = 2;    // "</s>", begin and end, the default of config.json
constexpr int64_t kPadToken = 1;        // "<pad>", likewise

/// Refuses options of OPTConfig that define another network.
void refuse_options(const json& object, int64_t hidden_size, const std::string& origin) {
  SLICE_FORMAT_CHECK(find_field<bool>(object, "do_layer_norm_before", origin).value_or(true),
                     "{}: do_layer_norm_before false: norms after the blocks, as in OPT-350m, are "
                     "not supported",
                     origin);
  const auto width =
      find_field<int64_t>(object, "word_embed_proj_dim", origin).value_or(hidden_size);
  SLICE_FORMAT_CHECK(width == hidden_size,
                     "{}: word_embed_proj_dim {}: embeddings of another width than {}, as in "
                     "OPT-350m, are not supported",
                     origin, width, hidden_size);
  refuse_unless(object, "enable_bias", true, origin);
  refuse_unless(object, "layer_norm_elementwise_affine", true, origin);
  refuse_unless(object, "_remove_final_layer_norm", false, origin);
}

ModelConfig parse(const json& object, const std::string& origin) {
  json own = object;  // an OPT reads neither of these
  own.erase("head_dim");
  own.erase("num_key_value_heads");
  ModelConfig c = parse_sizes(own, "opt", origin, kDefaults);
  refuse_options(object, c.hidden_size, origin);
  c.ffn_size = size_or(object, "ffn_dim", kFfnSize, origin);
  c.norm = NormKind::kLayer;
  c.norm_eps = 1e-5;  // torch.nn.LayerNorm's default, not in config.json
  c.learned_positions = c.context_length + kPositionOffset;
  c.position_offset = kPositionOffset;
  c.gated_mlp = false;
  c.activation = parse_activation(
      find_field<std::string>(object, "activation_function", origin).value_or("relu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(true);
  c.qkv_bias = c.output_bias = c.mlp_bias = true;
  if (!object.contains("bos_token_id")) c.bos_token = kSpecialToken;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kSpecialToken};
  if (!object.contains("pad_token_id") && c.vocabulary_size > kPadToken) c.pad_token = kPadToken;
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["ffn_dim"] = c.ffn_size;
  object["word_embed_proj_dim"] = c.hidden_size;
  object["activation_function"] = activation_name(c.activation);
  object["do_layer_norm_before"] = true;
  object["enable_bias"] = true;
  object["layer_norm_elementwise_affine"] = true;
  return object;
}

}  // namespace

const Family& opt() {
  static const Family description = {.name = "opt",
                                     .model_type = "opt",
                                     .architecture = "OPTForCausalLM",
                                     .gguf_architecture = "",
                                     .names = {.embedding = "model.decoder.embed_tokens",
                                               .positions = "model.decoder.embed_positions",
                                               .layers = "model.decoder.layers",
                                               .final_norm = "model.decoder.final_layer_norm",
                                               .head = "lm_head",
                                               .attention_norm = "self_attn_layer_norm",
                                               .q = "self_attn.q_proj",
                                               .k = "self_attn.k_proj",
                                               .v = "self_attn.v_proj",
                                               .o = "self_attn.out_proj",
                                               .mlp_norm = "final_layer_norm",
                                               .gate = "",
                                               .up = "fc1",
                                               .down = "fc2"},
                                     .ignored_suffixes = {},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = nullptr,
                                     .free_head_size = false,
                                     .fixed_eps = true};
  return description;
}

}  // namespace slice::models
