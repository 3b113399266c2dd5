// GLM-4-0414: RMSNorms before and after attention and feed-forward, half of each head turns, with
// neighbouring coordinates as pairs; gate and up are one matrix.   (arXiv 2406.12793)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
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

/// What Glm4Config takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 4096,
                                    .layers = 40,
                                    .heads = 32,
                                    .vocabulary_size = 151552,
                                    .context_length = 131072,
                                    .kv_heads = 2};
constexpr int64_t kFfnSize = 13696, kHeadSize = 128, kPad = 151329;
constexpr double kRotated = 0.5, kEps = 1.5625e-7;

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "glm4", origin, kDefaults);
  if (!object.contains("head_dim")) c.head_size = kHeadSize;
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(kEps);
  c.norm_place = NormPlace::kBoth;
  parse_rope(object, c, kRotated, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = find_field<bool>(object, "attention_bias", origin).value_or(true);
  if (c.eos_tokens.empty()) c.eos_tokens = {151329, 151336, 151338};  // for null too
  if (!object.contains("pad_token_id")) c.pad_token = kPad;
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["attention_bias"] = c.qkv_bias;
  write_rope(c, object);
  if (!c.rotary_size) object["partial_rotary_factor"] = 1.0;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "glm4");
  SLICE_FORMAT_CHECK(!c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want biases on q, k and v at most in a GLM-4", file.path().string());
  c.norm_place = NormPlace::kBoth;
  parse_gguf_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  const Names& names = glm4().names;
  const auto part = layer_parameter(names, parameter);
  if (!part) return;
  fuse_gate_up(c, names, *part, "mlp.gate_up_proj", form);
  turn_neighbours(c, names, parameter, form);
}

}  // namespace

const Family& glm4() {
  static const Names names = [] {
    Names n = llama_names();
    n.attention_out_norm = "post_self_attn_layernorm";
    n.mlp_out_norm = "post_mlp_layernorm";
    return n;
  }();
  static const Family description = {.name = "glm4",
                                     .model_type = "glm4",
                                     .architecture = "Glm4ForCausalLM",
                                     .gguf_architecture = "glm4",
                                     .names = names,
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
