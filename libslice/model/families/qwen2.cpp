// Qwen2 and Qwen2.5: LLaMA's network with biases on q, k and v, and a sliding window in the upper
// layers of some models.   (arXiv 2407.10671, 2412.15115)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Qwen2Config takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 4096,
                                    .layers = 32,
                                    .heads = 32,
                                    .vocabulary_size = 151936,
                                    .context_length = 32768,
                                    .kv_heads = 32};
constexpr int64_t kFfnSize = 22016, kWindow = 4096, kFirstWindowLayer = 28;

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_sizes(object, "qwen2", origin, kDefaults);
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-6);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a Qwen2",
                     origin);
  parse_upper_window(object, c, kWindow, kFirstWindowLayer, origin);
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
  write_upper_window(c, object);
  write_rope(c, object);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  ModelConfig c = parse_gguf_rms(file, "qwen2");
  SLICE_FORMAT_CHECK(c.qkv_bias && !c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want biases on q, k and v, and no others, in a Qwen2", origin);
  parse_gguf_whole_rope(file, c);
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
