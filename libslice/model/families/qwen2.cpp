// Qwen2 and Qwen2.5: LLaMA's network with biases on q, k and v, and a sliding window in the upper
// layers of some models.   (arXiv 2407.10671, 2412.15115)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

// Defaults of config.json.
constexpr int64_t kWindow = 4096, kFirstWindowLayer = 28, kKvHeads = 32;

void parse_window(const json& object, ModelConfig& c, const std::string& origin) {
  if (!find_field<bool>(object, "use_sliding_window", origin).value_or(false)) return;
  c.sliding_window = find_field<int64_t>(object, "sliding_window", origin);
  if (!object.contains("sliding_window")) c.sliding_window = kWindow;  // null means none
  c.first_window_layer =
      find_field<int64_t>(object, "max_window_layers", origin).value_or(kFirstWindowLayer);
  SLICE_FORMAT_CHECK(c.first_window_layer >= 0, "{}: max_window_layers: want at least 0, got {}",
                     origin, c.first_window_layer);
}

/// Transformers 4.53 and later also list the layers with the window.
void check_layer_types(const json& object, const ModelConfig& c, const std::string& origin) {
  const json& types = detail::array_field(object, "layer_types", origin);
  if (types.empty()) return;
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const bool window = c.sliding_window && layer >= c.first_window_layer;
    const bool fits = layer < static_cast<int64_t>(types.size()) &&
                      types[layer] == (window ? "sliding_attention" : "full_attention");
    SLICE_FORMAT_CHECK(fits, "{}: layer_types[{}]: not what max_window_layers {} says", origin,
                       layer, c.first_window_layer);
  }
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "qwen2", origin);
  if (!object.contains("num_key_value_heads")) c.kv_heads = kKvHeads;
  c.ffn_size = detail::field<int64_t>(object, "intermediate_size", origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-6);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a Qwen2",
                     origin);
  parse_window(object, c, origin);
  check_layer_types(object, c, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_act", origin).value_or("silu"), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(false);
  c.qkv_bias = true;
  return c;
}

json write(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = activation_name(c.activation);
  object["use_sliding_window"] = c.sliding_window.has_value();
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object["max_window_layers"] = c.sliding_window ? c.first_window_layer : c.layers;
  write_rope(c, object);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  ModelConfig c = parse_gguf_sizes(file, "qwen2");
  SLICE_FORMAT_CHECK(c.qkv_bias && !c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want biases on q, k and v, and no others, in a Qwen2", origin);
  c.norm_eps = file.get<double>("qwen2.attention.layer_norm_rms_epsilon");
  parse_gguf_rope(file, c);
  SLICE_FORMAT_CHECK(!c.rotary_size,
                     "{}: qwen2.rope.dimension_count: want the head size {}, got {}", origin,
                     c.head_size, c.rotary_size.value_or(0));
  return c;
}

}  // namespace

const Family& qwen2() {
  static const Family description = {.name = "qwen2",
                                     .model_type = "qwen2",
                                     .architecture = "Qwen2ForCausalLM",
                                     .gguf_architecture = "qwen2",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
