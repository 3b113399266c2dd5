#include "libslice/model/families/gguf_keys.h"

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_experts.h"

namespace slice::models {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";
constexpr int64_t kMostLayers = 1000;  // as check_config

/// Size of a query head; refuses contradicting keys.
int64_t parse_head_size(const GgufFile& file, const ModelConfig& c, const std::string& origin) {
  const std::string key = gguf_key(file, "attention.key_length");
  SLICE_FORMAT_CHECK(file.metadata().contains(key) || c.hidden_size % c.heads == 0,
                     "{}: {} {} is not a multiple of {} heads", origin,
                     gguf_key(file, "embedding_length"), c.hidden_size, c.heads);
  const int64_t size = gguf_uniform_size(file, "attention.key_length", c.hidden_size / c.heads);
  const std::string value_key = gguf_key(file, "attention.value_length");
  const int64_t value = gguf_uniform_size(file, "attention.value_length", size);
  SLICE_FORMAT_CHECK(value == size, "{}: {}: want the head size {}, got {}", origin, value_key,
                     size, value);
  return size;
}

/// One FFN width, or a list with one per layer. Of experts that of their own where it is a key.
void parse_ffn_sizes(const GgufFile& file, ModelConfig& c) {
  const std::string own = gguf_key(file, "expert_feed_forward_length");
  const bool experts = !family(c.family).names.router.empty() && file.metadata().contains(own);
  const std::string key = experts ? own : gguf_key(file, "feed_forward_length");
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end() ||
      !std::holds_alternative<std::vector<int64_t>>(found->second)) {
    c.ffn_size = file.get<int64_t>(key);
    return;
  }
  const auto sizes = file.get<std::vector<int64_t>>(key);
  SLICE_FORMAT_CHECK(!sizes.empty() && std::ssize(sizes) == c.layers,
                     "{}: {}: want {} sizes, got {}", file.path().string(), key, c.layers,
                     sizes.size());
  c.ffn_size = *std::max_element(sizes.begin(), sizes.end());
  c = narrowed_config(c, sizes);
}

// Those that can occur; reading the tokenizer warns of the others.
std::vector<int64_t> parse_eos_tokens(const GgufFile& file, int64_t vocabulary) {
  std::vector<int64_t> tokens;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    if (!file.metadata().contains(key)) continue;
    const auto id = file.get<int64_t>(key);
    if (id < 0 || id >= vocabulary) continue;
    if (std::find(tokens.begin(), tokens.end(), id) == tokens.end()) tokens.push_back(id);
  }
  return tokens;
}

}  // namespace

std::string gguf_relative(const std::string& architecture) {
  return architecture == "deci" ? "llama" : architecture;
}

std::string gguf_key(const GgufFile& file, const std::string& key) {
  return file.get<std::string>("general.architecture") + "." + key;
}

int64_t gguf_uniform_size(const GgufFile& file, const std::string& key) {
  const std::string name = gguf_key(file, key);
  const auto found = file.metadata().find(name);
  if (found == file.metadata().end() ||
      !std::holds_alternative<std::vector<int64_t>>(found->second))
    return file.get<int64_t>(name);
  const auto sizes = file.get<std::vector<int64_t>>(name);
  SLICE_FORMAT_CHECK(!sizes.empty(), "{}: {}: want a number, got an empty list",
                     file.path().string(), name);
  for (const int64_t size : sizes)
    SLICE_FORMAT_CHECK(size == sizes.front(),
                       "{}: {}: {} in one layer and {} in another is not supported: libslice runs "
                       "layers that differ in their FFN width alone",
                       file.path().string(), name, sizes.front(), size);
  return sizes.front();
}

int64_t gguf_uniform_size(const GgufFile& file, const std::string& key, int64_t otherwise) {
  return file.metadata().contains(gguf_key(file, key)) ? gguf_uniform_size(file, key) : otherwise;
}

ModelConfig parse_gguf_sizes(const GgufFile& file, const std::string& family) {
  const std::string origin = file.path().string();
  const auto size = [&](const char* key) { return gguf_uniform_size(file, key); };
  const auto has = [&](const std::string& name) { return file.tensors().contains(name); };
  const auto any = [&](const std::string& name) { return has("blk.0." + name); };
  SLICE_FORMAT_CHECK(!gguf_routed(file) || !models::family(family).names.router.empty(),
                     "{}: {}: experts are not supported in a {}", origin,
                     gguf_key(file, "expert_count"), family);
  SLICE_FORMAT_CHECK(has(kEmbedding), "{}: tensor {} is missing", origin, kEmbedding);

  ModelConfig c;
  c.family = family;
  c.hidden_size = size("embedding_length");
  c.layers = size("block_count");
  SLICE_FORMAT_CHECK(c.layers <= kMostLayers, "{}: {}: want at most {}, got {}", origin,
                     gguf_key(file, "block_count"), kMostLayers, c.layers);
  c.heads = size("attention.head_count");
  SLICE_FORMAT_CHECK(c.heads > 0, "{}: {}: want at least 1, got {}", origin,
                     gguf_key(file, "attention.head_count"), c.heads);
  c.kv_heads = gguf_uniform_size(file, "attention.head_count_kv", c.heads);
  c.head_size = parse_head_size(file, c, origin);
  parse_ffn_sizes(file, c);
  c.vocabulary_size = file.tensors().at(kEmbedding).shape[0];
  c.context_length = size("context_length");
  c.tied_head = !has("output.weight");
  c.qkv_bias = any("attn_q.bias") || any("attn_qkv.bias");
  c.output_bias = any("attn_output.bias");
  c.mlp_bias = any("ffn_up.bias");
  c.head_bias = has("output.bias");
  if (file.metadata().contains("tokenizer.ggml.bos_token_id")) {
    const auto id = file.get<int64_t>("tokenizer.ggml.bos_token_id");
    if (id >= 0 && id < c.vocabulary_size) c.bos_token = id;
  }
  if (file.metadata().contains("tokenizer.ggml.padding_token_id")) {
    const auto id = file.get<int64_t>("tokenizer.ggml.padding_token_id");
    if (id >= 0 && id < c.vocabulary_size) c.pad_token = id;
  }
  c.eos_tokens = parse_eos_tokens(file, c.vocabulary_size);
  return c;
}

ModelConfig parse_gguf_rms(const GgufFile& file, const std::string& family) {
  ModelConfig c = parse_gguf_sizes(file, family);
  c.norm_eps = file.get<double>(gguf_key(file, "attention.layer_norm_rms_epsilon"));
  return c;
}

void refuse_gguf_biases(const GgufFile& file, const ModelConfig& c) {
  SLICE_FORMAT_CHECK(!c.qkv_bias && !c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want no biases in a {}", file.path().string(), c.family);
}

void parse_gguf_windows(const GgufFile& file, ModelConfig& c, int64_t pattern) {
  const std::string key = gguf_key(file, "attention.sliding_window_pattern");
  const auto found = file.metadata().find(key);
  c.window_layers.clear();
  if (found != file.metadata().end() &&
      std::holds_alternative<std::vector<int64_t>>(found->second)) {
    for (const int64_t windowed : file.get<std::vector<int64_t>>(key))
      c.window_layers.push_back(windowed != 0);
    SLICE_FORMAT_CHECK(std::ssize(c.window_layers) == c.layers, "{}: {}: want {} entries, got {}",
                       file.path().string(), key, c.layers, c.window_layers.size());
  } else {
    pattern = file.get<int64_t>(key, pattern);
    SLICE_FORMAT_CHECK(pattern >= 0, "{}: {}: want at least 0, got {}", file.path().string(), key,
                       pattern);
    for (int64_t layer = 0; layer < c.layers; ++layer)
      c.window_layers.push_back(pattern == 0 || (layer + 1) % pattern != 0);
  }
  const auto windows = std::ranges::count(c.window_layers, true);
  if (windows == 0) c.sliding_window.reset();
  if (windows == 0 || windows == c.layers) c.window_layers.clear();
}

}  // namespace slice::models
