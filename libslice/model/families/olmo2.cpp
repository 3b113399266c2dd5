// OLMo 2 and 3: RMSNorms on what attention and feed-forward write and none before them, norms over
// all queries and all keys of a token. OLMo 3 has a window in three of four layers.
//   (arXiv 2501.00656, 2512.13961)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Olmo2Config and Olmo3Config take for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 4096, .layers = 32, .heads = 32, .vocabulary_size = 50304};
constexpr int64_t kFfnSize = 11008, kPad = 1, kEos = 50279, kWindow = 4096, kPattern = 4;
constexpr RopeBases kBases = {.full = 500000, .window = 500000};

ModelConfig parse_common(const json& object, const std::string& family, const std::string& origin) {
  ModelConfig c = parse_sizes(object, family, origin, kDefaults);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-5);
  c.norm_place = NormPlace::kAfter;
  c.head_norm = HeadNorm::kAll;
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = c.output_bias = find_field<bool>(object, "attention_bias", origin).value_or(false);
  if (!object.contains("eos_token_id")) c.eos_tokens = {kEos};
  if (!object.contains("pad_token_id")) c.pad_token = kPad;
  return c;
}

json common_json(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  if (c.heads * c.head_size != c.hidden_size) object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["attention_bias"] = c.qkv_bias;
  return object;
}

ModelConfig parse_olmo2(const json& object, const std::string& origin) {
  ModelConfig c = parse_common(object, "olmo2", origin);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in an OLMo 2",
                     origin);
  return c;
}

/// OLMo 3 has the same architecture there, and a window.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "olmo2");
  c.norm_place = NormPlace::kAfter;
  c.head_norm = HeadNorm::kAll;
  parse_gguf_whole_rope(file, c);
  const auto window = file.get<int64_t>("olmo2.attention.sliding_window", 0);
  if (window == 0) return c;
  c.family = "olmo3";
  c.sliding_window = window;
  parse_gguf_windows(file, c, kPattern);
  if (c.rope_scaling) c.window_rope_theta = c.rope_theta;
  return c;
}

json write_olmo2(const ModelConfig& c) {
  json object = common_json(c);
  write_rope(c, object);
  return object;
}

ModelConfig parse_olmo3(const json& object, const std::string& origin) {
  ModelConfig c = parse_common(object, "olmo3", origin);
  parse_window_size(object, c, kWindow, origin);
  put_window_pattern(c, kPattern);
  parse_layer_types(object, c, origin);
  parse_rope_of_kinds(object, c, kBases, nullptr, origin);
  return c;
}

json write_olmo3(const ModelConfig& c) {
  json object = common_json(c);
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object["layer_types"] = layer_types_json(c);
  write_rope_of_kinds(c, nullptr, object);
  return object;
}

}  // namespace

const Family& olmo2() {
  static const Family description = {.name = "olmo2",
                                     .model_type = "olmo2",
                                     .architecture = "Olmo2ForCausalLM",
                                     .gguf_architecture = "olmo2",
                                     .names = output_norm_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse_olmo2,
                                     .write = write_olmo2,
                                     .parse_gguf = parse_gguf};
  return description;
}

const Family& olmo3() {
  static const Family description = {.name = "olmo3",
                                     .model_type = "olmo3",
                                     .architecture = "Olmo3ForCausalLM",
                                     .gguf_architecture = "",  // "olmo2" there
                                     .names = output_norm_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse_olmo3,
                                     .write = write_olmo3,
                                     .parse_gguf = nullptr};
  return description;
}

}  // namespace slice::models
