// SmolLM3: LLaMA's network of which every fourth layer has no rotary positions.
//   (huggingface.co/blog/smollm3; layers without positions: arXiv 2501.18795)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What SmolLM3Config takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 2048,
                                               .layers = 36,
                                               .heads = 16,
                                               .vocabulary_size = 128256,
                                               .context_length = 32768,
                                               .kv_heads = 4},
                                     .ffn_size = 11008,
                                     .rope_theta = 2000000.0,
                                     .tied_head = true,
                                     .bos_token = 128000,
                                     .eos_token = 128001,
                                     .pad_token = 128004};
constexpr int64_t kInterval = 4;

void parse_turning_layers(const json& object, ModelConfig& c, const std::string& origin) {
  const auto interval =
      find_field<int64_t>(object, "no_rope_layer_interval", origin).value_or(kInterval);
  SLICE_FORMAT_CHECK(interval > 0, "{}: no_rope_layer_interval: want at least 1, got {}", origin,
                     interval);
  const json& listed = detail::array_field(object, "no_rope_layers", origin);
  SLICE_FORMAT_CHECK(listed.empty() || std::ssize(listed) >= c.layers,
                     "{}: no_rope_layers: want {} entries, got {}", origin, c.layers,
                     listed.size());
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    if (listed.empty()) {
      c.rotary_layers.push_back((layer + 1) % interval != 0);
      continue;
    }
    SLICE_FORMAT_CHECK(listed[layer] == 0 || listed[layer] == 1,
                       "{}: no_rope_layers[{}]: want 0 or 1, got {}", origin, layer,
                       listed[layer].dump());
    c.rotary_layers.push_back(listed[layer] == 1);
  }
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "smollm3", kDefaults, origin);
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  c.mlp_bias = flag_or(object, "mlp_bias", false, origin);
  parse_turning_layers(object, c, origin);
  if (flag_or(object, "use_sliding_window", false, origin)) {
    c.sliding_window = find_field<int64_t>(object, "sliding_window", origin);
    for (const bool turns : c.rotary_layers) c.window_layers.push_back(!turns);
  }
  json heeded = object;
  if (!c.sliding_window) heeded.erase("layer_types");  // without a window they are all alike
  parse_layer_types(heeded, c, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  object["mlp_bias"] = c.mlp_bias;
  json turning = json::array();
  for (int64_t layer = 0; layer < c.layers; ++layer)
    turning.push_back(c.turning(layer) > 0 ? 1 : 0);
  object["no_rope_layers"] = std::move(turning);
  object["use_sliding_window"] = c.sliding_window.has_value();
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object["layer_types"] = layer_types_json(c);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "smollm3");
  refuse_gguf_biases(file, c);
  parse_gguf_whole_rope(file, c);
  for (int64_t layer = 0; layer < c.layers; ++layer)
    c.rotary_layers.push_back((layer + 1) % kInterval != 0);
  return c;
}

}  // namespace

const Family& smollm3() {
  static const Family description = {.name = "smollm3",
                                     .model_type = "smollm3",
                                     .architecture = "SmolLM3ForCausalLM",
                                     .gguf_architecture = "smollm3",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
