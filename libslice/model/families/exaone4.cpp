// EXAONE 4: RMSNorms on what attention and feed-forward write and none before them, norms of every
// query and key; hybrid sizes have a window in some layers, and the others do not turn.
//   (arXiv 2507.11407)

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

/// What Exaone4Config takes for missing keys.
constexpr SizeDefaults kDefaults = {
    .hidden_size = 4096, .layers = 32, .heads = 32, .vocabulary_size = 102400, .kv_heads = 32};
constexpr int64_t kFfnSize = 16384, kBos = 0, kEos = 2, kWindow = 4096, kPattern = 4;

/// Of a model with a window, heads turn in the layers that have it.
void parse_windows(const json& object, ModelConfig& c, const std::string& origin) {
  parse_window_size(object, c, kWindow, origin);
  if (!c.sliding_window) return parse_layer_types(object, c, origin);
  if (!object.contains("layer_types")) {
    const int64_t pattern = size_or(object, "sliding_window_pattern", kPattern, origin);
    SLICE_FORMAT_CHECK(pattern > 0, "{}: sliding_window_pattern: want at least 1, got {}", origin,
                       pattern);
    put_window_pattern(c, pattern);
  }
  parse_layer_types(object, c, origin);
  SLICE_FORMAT_CHECK(c.sliding_window, "{}: sliding_window: no layer has it: not supported",
                     origin);
  c.rotary_layers = c.window_layers;
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "exaone4", origin, kDefaults);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-5);
  c.norm_place = NormPlace::kAfter;
  c.head_norm = HeadNorm::kEach;
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in an EXAONE 4",
                     origin);
  parse_windows(object, c, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  if (!object.contains("bos_token_id")) c.bos_token = kBos;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kEos};
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
  object["layer_types"] = layer_types_json(c);
  write_rope(c, object);
  return object;
}

/// As in config.json, heads turn in the layers that have the window.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "exaone4");
  refuse_gguf_biases(file, c);
  c.norm_place = NormPlace::kAfter;
  c.head_norm = HeadNorm::kEach;
  parse_gguf_whole_rope(file, c);
  if (const auto window = file.get<int64_t>("exaone4.attention.sliding_window", 0); window > 0) {
    c.sliding_window = window;
    parse_gguf_windows(file, c, kPattern);
    c.rotary_layers = c.window_layers;
  }
  return c;
}

}  // namespace

const Family& exaone4() {
  static const Family description = {.name = "exaone4",
                                     .model_type = "exaone4",
                                     .architecture = "Exaone4ForCausalLM",
                                     .gguf_architecture = "exaone4",
                                     .names = output_norm_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
