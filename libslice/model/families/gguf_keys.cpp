#include "libslice/model/families/gguf_keys.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/model/rotary.h"

namespace slice::models {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";
constexpr const char* kFrequencyDivisors = "rope_freqs.weight";

/// A size of the model. One that is listed layer by layer, as `deci` files do, has to be the same
/// in all of them.
int64_t uniform_size(const GgufFile& file, const char* key) {
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

int64_t uniform_size(const GgufFile& file, const char* key, int64_t otherwise) {
  return file.metadata().contains(gguf_key(file, key)) ? uniform_size(file, key) : otherwise;
}

/// Size of a query head; refuses contradicting keys.
int64_t parse_head_size(const GgufFile& file, const ModelConfig& c, const std::string& origin) {
  const std::string key = gguf_key(file, "attention.key_length");
  SLICE_FORMAT_CHECK(file.metadata().contains(key) || c.hidden_size % c.heads == 0,
                     "{}: {} {} is not a multiple of {} heads", origin,
                     gguf_key(file, "embedding_length"), c.hidden_size, c.heads);
  const int64_t size = uniform_size(file, "attention.key_length", c.hidden_size / c.heads);
  const std::string value_key = gguf_key(file, "attention.value_length");
  const int64_t value = uniform_size(file, "attention.value_length", size);
  SLICE_FORMAT_CHECK(value == size, "{}: {}: want the head size {}, got {}", origin, value_key,
                     size, value);
  return size;
}

/// Names of the parts of the model and of a layer: llama.cpp's and ours.
using Parts = std::vector<std::pair<std::string, std::string>>;

Parts model_parts(const Names& names) {
  return {{"token_embd", names.embedding},
          {"position_embd", names.positions},
          {"output_norm", names.final_norm},
          {"output", names.head}};
}

Parts layer_parts(const Names& names) {
  return {{"attn_norm", names.attention_norm},
          {"attn_q", names.q},
          {"attn_k", names.k},
          {"attn_v", names.v},
          {"attn_output", names.o},
          {"ffn_norm", names.mlp_norm},
          {"ffn_gate", names.gate},
          {"ffn_up", names.up},
          {"ffn_down", names.down},
          {"attn_q_norm", names.q_norm},
          {"attn_k_norm", names.k_norm},
          {"post_attention_norm", names.attention_out_norm},
          {"post_ffw_norm", names.mlp_out_norm}};
}

/// One FFN width, or a list with one per layer.
void parse_ffn_sizes(const GgufFile& file, ModelConfig& c) {
  const std::string key = gguf_key(file, "feed_forward_length");
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

/// Llama 3's scaling as llama.cpp stores it: the divisor of every frequency, without metadata. All
/// published models have the same constants except for the factor, which is the largest divisor.
RopeScaling scaling_of_divisors(const at::Tensor& divisors, const ModelConfig& c,
                                const std::string& where) {
  SLICE_FORMAT_CHECK(divisors.dim() == 1 && divisors.size(0) == c.head_size / 2,
                     "{}: want {} divisors, got {}", where, c.head_size / 2,
                     detail::describe(divisors));
  SLICE_FORMAT_CHECK(c.head_size > 0 && c.head_size % 2 == 0 && c.rope_theta > 0,
                     "{}: want pairs and a positive base, got a head size of {} and {}", where,
                     c.head_size, c.rope_theta);
  const at::Tensor wide = divisors.to(at::kDouble);
  const RopeScaling scaling{.kind = RopeScaling::Kind::kLlama3,
                            .factor = wide.max().item<double>()};
  const Rotary plain(c.head_size, c.rope_theta), scaled(c.head_size, c.rope_theta, scaling);
  for (int64_t i = 0; i < c.head_size / 2; ++i) {
    const double want = plain.frequencies()[i] / scaled.frequencies()[i],
                 got = wide[i].item<double>();
    SLICE_FORMAT_CHECK(std::abs(got - want) <= 1e-4 * want,
                       "{}: divisor {} is {}, not Llama 3's {}: this rope scaling is not supported",
                       where, i, got, want);
  }
  return scaling;
}

std::optional<RopeScaling> parse_scaling(const GgufFile& file, const ModelConfig& c,
                                         const std::string& origin) {
  const auto kind = file.get<std::string>(gguf_key(file, "rope.scaling.type"), "none");
  SLICE_FORMAT_CHECK(kind == "none" || kind == "linear", "{}: rope scaling '{}' is not supported",
                     origin, kind);
  const double factor = kind == "linear"
                            ? file.get<double>(gguf_key(file, "rope.scaling.factor"))
                            : file.get<double>(gguf_key(file, "rope.scale_linear"), 1.0);
  if (!file.tensors().contains(kFrequencyDivisors)) {
    if (factor == 1.0) return std::nullopt;
    return RopeScaling{.kind = RopeScaling::Kind::kLinear, .factor = factor};
  }
  const std::string where = origin + ": " + kFrequencyDivisors;
  SLICE_FORMAT_CHECK(factor == 1.0, "{}: together with linear rope scaling: not supported", where);
  const at::Tensor divisors = file.read(kFrequencyDivisors);
  if (divisors.eq(1).all().item<bool>()) return std::nullopt;
  return scaling_of_divisors(divisors, c, where);
}

}  // namespace

std::string gguf_relative(const std::string& architecture) {
  return architecture == "deci" ? "llama" : architecture;
}

bool gguf_interleaves(const std::string& architecture) {
  const std::string relative = gguf_relative(architecture);
  return relative == "command-r" || relative == "llama" || relative == "olmo";
}

std::string gguf_key(const GgufFile& file, const std::string& key) {
  return file.get<std::string>("general.architecture") + "." + key;
}

ModelConfig parse_gguf_sizes(const GgufFile& file, const std::string& family) {
  const std::string origin = file.path().string();
  const auto size = [&](const char* key) { return uniform_size(file, key); };
  const auto has = [&](const std::string& name) { return file.tensors().contains(name); };
  const auto any = [&](const std::string& name) { return has("blk.0." + name); };
  SLICE_FORMAT_CHECK(uniform_size(file, "expert_count", 0) == 0,
                     "{}: {}: mixtures of experts are not supported", origin,
                     gguf_key(file, "expert_count"));
  SLICE_FORMAT_CHECK(has(kEmbedding), "{}: tensor {} is missing", origin, kEmbedding);

  ModelConfig c;
  c.family = family;
  c.hidden_size = size("embedding_length");
  c.layers = size("block_count");
  c.heads = size("attention.head_count");
  SLICE_FORMAT_CHECK(c.heads > 0, "{}: {}: want at least 1, got {}", origin,
                     gguf_key(file, "attention.head_count"), c.heads);
  c.kv_heads = uniform_size(file, "attention.head_count_kv", c.heads);
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

void parse_gguf_rope(const GgufFile& file, ModelConfig& c) {
  const std::string origin = file.path().string();
  c.rope_theta = file.get<double>(gguf_key(file, "rope.freq_base"), 10000.0);
  const int64_t turning = uniform_size(file, "rope.dimension_count", c.head_size);
  if (turning != c.head_size) c.rotary_size = turning;
  c.rope_scaling = parse_scaling(file, c, origin);
}

std::vector<GgufPlace> gguf_places(const Names& names, const ModelConfig& c,
                                   const std::string& name, int64_t rows) {
  if (name == kFrequencyDivisors) return {};  // read by parse_gguf_rope
  const size_t dot = name.rfind('.');
  const std::string part = name.substr(0, dot);
  const std::string kind = dot == std::string::npos ? "" : name.substr(dot);  // ".weight"
  const auto whole = [&](const std::string& path) {
    return std::vector<GgufPlace>{{path + kind, 0, rows}};
  };
  for (const auto& [from, to] : model_parts(names)) {
    if (part == from && !to.empty()) return whole(to);
  }

  const std::string prefix = "blk.";
  if (part.starts_with(prefix)) {
    int64_t layer = -1;
    const char* const end = part.data() + part.size();
    const auto [rest, error] = std::from_chars(part.data() + prefix.size(), end, layer);
    const std::string tail(rest, end);  // ".attn_q"
    const std::string root = detail::formatted("{}.{}.", names.layers, layer);
    const bool numbered = error == std::errc() && layer >= 0;
    for (const auto& [from, to] : layer_parts(names)) {
      if (numbered && tail == "." + from && !to.empty()) return whole(root + to);
    }
    const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
    if (numbered && tail == ".attn_qkv" && rows == q + 2 * kv) {
      return {{root + names.q + kind, 0, q},
              {root + names.k + kind, q, q + kv},
              {root + names.v + kind, q + kv, rows}};
    }
  }
  return {{name, 0, rows}};
}

std::string gguf_name(const Names& names, const std::string& name) {
  const size_t dot = name.rfind('.');
  std::string part = name.substr(0, dot), root;
  Parts parts = model_parts(names);
  if (part.starts_with(names.layers + ".")) {
    part.erase(0, names.layers.size() + 1);
    const size_t step = part.find('.');
    root = "blk." + part.substr(0, step + 1);
    part.erase(0, step + 1);
    parts = layer_parts(names);
  }
  for (const auto& [theirs, ours] : parts) {
    if (part == ours) return root + theirs + name.substr(dot);
  }
  throw FormatError(detail::formatted("GGUF has no name for tensor {}", name));
}

}  // namespace slice::models
