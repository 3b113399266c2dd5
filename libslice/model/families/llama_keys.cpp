#include "libslice/model/families/llama_keys.h"

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"

namespace slice::models {

using detail::find_field;
using nlohmann::json;

bool flag_or(const json& object, const char* key, bool otherwise, const std::string& origin) {
  return find_field<bool>(object, key, origin).value_or(otherwise);
}

ModelConfig parse_llama_keys(const json& object, const std::string& family,
                             const LlamaDefaults& defaults, const std::string& origin) {
  ModelConfig c = parse_sizes(object, family, origin, defaults.sizes);
  c.ffn_size = size_or(object, "intermediate_size", defaults.ffn_size, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(defaults.norm_eps);
  parse_rope(object, c, 1.0, origin, defaults.rope_theta);
  SLICE_FORMAT_CHECK(defaults.turns_in_part || !c.rotary_size,
                     "{}: partial_rotary_factor is not supported in a {}", origin, family);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or(defaults.activation), origin);
  c.tied_head = flag_or(object, "tie_word_embeddings", defaults.tied_head, origin);
  const auto usual = [&](const char* key, std::optional<int64_t> id) {
    return !object.contains(key) && id && *id < c.vocabulary_size;
  };
  if (usual("bos_token_id", defaults.bos_token)) c.bos_token = defaults.bos_token;
  if (usual("eos_token_id", defaults.eos_token)) c.eos_tokens = {*defaults.eos_token};
  if (usual("pad_token_id", defaults.pad_token)) c.pad_token = defaults.pad_token;
  return c;
}

json llama_keys_json(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  write_rope(c, object);
  return object;
}

const Names& ungated_llama_names() {
  static const Names names = [] {
    Names n = llama_names();
    n.gate = "";
    return n;
  }();
  return names;
}

const Names& output_norm_names() {
  static const Names names = [] {
    Names n = llama_names();
    n.attention_norm = n.mlp_norm = "";
    n.attention_out_norm = "post_attention_layernorm";
    n.mlp_out_norm = "post_feedforward_layernorm";
    n.q_norm = "self_attn.q_norm";
    n.k_norm = "self_attn.k_norm";
    return n;
  }();
  return names;
}

}  // namespace slice::models
