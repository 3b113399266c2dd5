// Qwen3: LLaMA's network with a norm of every query and key head, and a sliding window in the upper
// layers of some models.   (arXiv 2505.09388)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What Qwen3Config takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 151936,
                                               .context_length = 32768,
                                               .kv_heads = 32,
                                               .head_size = 128},
                                     .ffn_size = 22016};
constexpr int64_t kWindow = 4096, kFirstWindowLayer = 28;

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "qwen3", kDefaults, origin);
  c.head_norm = HeadNorm::kEach;
  c.qkv_bias = c.output_bias = flag_or(object, "attention_bias", false, origin);
  parse_upper_window(object, c, kWindow, kFirstWindowLayer, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["attention_bias"] = c.qkv_bias;
  write_upper_window(c, object);
  return object;
}

/// llama.cpp knows no window in it.
ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "qwen3");
  SLICE_FORMAT_CHECK(!c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want biases on q, k and v at most in a Qwen3", file.path().string());
  c.head_norm = HeadNorm::kEach;
  parse_gguf_whole_rope(file, c);
  return c;
}

}  // namespace

const Family& qwen3() {
  static const Names names = [] {
    Names n = llama_names();
    n.q_norm = "self_attn.q_norm";
    n.k_norm = "self_attn.k_norm";
    return n;
  }();
  static const Family description = {.name = "qwen3",
                                     .model_type = "qwen3",
                                     .architecture = "Qwen3ForCausalLM",
                                     .gguf_architecture = "qwen3",
                                     .names = names,
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf};
  return description;
}

}  // namespace slice::models
