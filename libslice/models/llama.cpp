// LLaMA: RMSNorm, rotary positions, grouped queries, gated SiLU feed-forward.        (arXiv
// 2302.13971, 2307.09288)

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/detail/check.h"
#include "libslice/detail/json.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/models/family.h"
#include "libslice/rotary.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

constexpr const char* kEmbedding = "token_embd.weight";
constexpr const char* kFrequencyDivisors = "rope_freqs.weight";

double number(const json& object, const char* key, double otherwise, const std::string& origin) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  SLICE_FORMAT_CHECK(found->is_number(), "{}: '{}': want a number, got {}", origin, key,
                     found->type_name());
  return found->get<double>();
}

/// Names of the kinds of rotary scaling in config.json and GGUF.
constexpr std::pair<const char*, RopeScaling::Kind> kScalings[] = {
    {"linear", RopeScaling::Kind::kLinear}, {"llama3", RopeScaling::Kind::kLlama3}};

std::optional<RopeScaling> parse_scaling(const json& rope, const std::string& kind,
                                         const std::string& key, const std::string& origin) {
  if (kind == "default") return std::nullopt;
  for (const auto& [name, value] : kScalings) {
    if (kind != name) continue;
    const std::string where = origin + ": " + key;
    RopeScaling scaling{.kind = value, .factor = detail::field<double>(rope, "factor", where)};
    if (value == RopeScaling::Kind::kLlama3) {
      scaling.low_frequency_factor = detail::field<double>(rope, "low_freq_factor", where);
      scaling.high_frequency_factor = detail::field<double>(rope, "high_freq_factor", where);
      scaling.original_context =
          detail::field<int64_t>(rope, "original_max_position_embeddings", where);
    }
    return scaling;
  }
  throw FormatError(fmt::format("{}: {} '{}' is not supported", origin, key, kind));
}

/// Rotary parameters stand at the top (rope_theta, rope_scaling) or, since Transformers 5, in
/// rope_parameters.
void parse_rope(const json& object, ModelConfig& c, const std::string& origin) {
  double theta = number(object, "rope_theta", 10000.0, origin);
  double rotated = number(object, "partial_rotary_factor", 1.0, origin);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = object.find(key);
    if (rope == object.end() || rope->is_null()) continue;
    SLICE_FORMAT_CHECK(rope->is_object(), "{}: '{}': want an object, got {}", origin, key,
                       rope->type_name());
    for (const auto& [name, value] : rope->items()) {
      SLICE_FORMAT_CHECK(!value.is_structured(), "{}: {}: '{}' is not supported", origin, key,
                         name);
    }
    const auto type = find_field<std::string>(*rope, "rope_type", origin);
    const std::string kind =
        type ? *type : find_field<std::string>(*rope, "type", origin).value_or("default");
    if (auto scaling = parse_scaling(*rope, kind, key, origin)) c.rope_scaling = scaling;
    theta = number(*rope, "rope_theta", theta, origin);
    rotated = number(*rope, "partial_rotary_factor", rotated, origin);
  }
  SLICE_FORMAT_CHECK(rotated == 1.0, "{}: partial_rotary_factor {} is not supported", origin,
                     rotated);
  c.rope_theta = theta;
}

json scaling_json(const ModelConfig& c) {
  if (!c.rope_scaling) return nullptr;
  const RopeScaling& s = *c.rope_scaling;
  if (s.kind == RopeScaling::Kind::kLinear)
    return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", s.factor}};
  return {{"rope_type", "llama3"},
          {"factor", s.factor},
          {"low_freq_factor", s.low_frequency_factor},
          {"high_freq_factor", s.high_frequency_factor},
          {"original_max_position_embeddings", s.original_context}};
}

/// Options that would change what the model computes, and that this library does not run.
void refuse_options(const json& object, const std::string& origin) {
  const auto quantised = object.find("quantization_config");
  SLICE_FORMAT_CHECK(quantised == object.end() || quantised->is_null(),
                     "{}: quantization_config is not supported", origin);
  const std::string activation =
      find_field<std::string>(object, "hidden_act", origin).value_or("silu");
  SLICE_FORMAT_CHECK(activation == "silu", "{}: hidden_act '{}' is not supported", origin,
                     activation);
  const auto window = find_field<int64_t>(object, "sliding_window", origin);
  SLICE_FORMAT_CHECK(
      !window || !find_field<bool>(object, "use_sliding_window", origin).value_or(true),
      "{}: sliding_window {} is not supported", origin, *window);
}

void parse_special_tokens(const json& object, ModelConfig& c, const std::string& origin) {
  c.bos_token = find_field<int64_t>(object, "bos_token_id", origin);
  const auto eos = object.find("eos_token_id");
  if (eos == object.end() || eos->is_null()) return;
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& id : list) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: 'eos_token_id': want integers, got {}", origin,
                       id.type_name());
    c.eos_tokens.push_back(id.get<int64_t>());
  }
}

ModelConfig parse(const json& object, const std::string& origin) {
  const auto size = [&](const char* key) { return detail::field<int64_t>(object, key, origin); };
  const auto size_or = [&](const char* key, int64_t otherwise) {
    return find_field<int64_t>(object, key, origin).value_or(otherwise);
  };
  const auto flag = [&](const char* key) {
    return find_field<bool>(object, key, origin).value_or(false);
  };
  refuse_options(object, origin);
  ModelConfig c;
  c.family = "llama";
  c.hidden_size = size("hidden_size");
  c.layers = size("num_hidden_layers");
  c.heads = size("num_attention_heads");
  SLICE_FORMAT_CHECK(c.heads > 0, "{}: num_attention_heads: want at least 1, got {}", origin,
                     c.heads);
  c.kv_heads = size_or("num_key_value_heads", c.heads);
  const auto head_size = find_field<int64_t>(object, "head_dim", origin);
  SLICE_FORMAT_CHECK(head_size || c.hidden_size % c.heads == 0,
                     "{}: hidden_size {} is not a multiple of {} heads", origin, c.hidden_size,
                     c.heads);
  c.head_size = head_size.value_or(c.hidden_size / c.heads);
  c.ffn_size = size("intermediate_size");
  c.vocabulary_size = size("vocab_size");
  c.context_length = size_or("max_position_embeddings", 2048);
  c.norm_eps = number(object, "rms_norm_eps", 1e-6, origin);
  parse_rope(object, c, origin);
  c.tied_head = flag("tie_word_embeddings");
  c.attention_bias = flag("attention_bias");
  c.mlp_bias = flag("mlp_bias");
  parse_special_tokens(object, c, origin);
  return c;
}

json write(const ModelConfig& c) {
  return {{"hidden_size", c.hidden_size},
          {"num_hidden_layers", c.layers},
          {"num_attention_heads", c.heads},
          {"num_key_value_heads", c.kv_heads},
          {"head_dim", c.head_size},
          {"intermediate_size", c.ffn_size},
          {"max_position_embeddings", c.context_length},
          {"rms_norm_eps", c.norm_eps},
          {"rope_theta", c.rope_theta},
          {"rope_scaling", scaling_json(c)},
          {"hidden_act", "silu"},
          {"attention_bias", c.attention_bias},
          {"mlp_bias", c.mlp_bias}};
}

/// Llama 3's scaling as llama.cpp stores it: what every frequency is divided by, without a word in
/// the metadata. All published models have the same constants but the factor, the largest divisor.
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

std::optional<RopeScaling> parse_gguf_scaling(const GgufFile& file, const ModelConfig& c,
                                              const std::string& origin) {
  const std::string kind = file.get<std::string>("llama.rope.scaling.type", "none");
  SLICE_FORMAT_CHECK(kind == "none" || kind == "linear", "{}: rope scaling '{}' is not supported",
                     origin, kind);
  const double factor = kind == "linear" ? file.get<double>("llama.rope.scaling.factor")
                                         : file.get<double>("llama.rope.scale_linear", 1.0);
  if (!file.tensors().contains(kFrequencyDivisors)) {
    if (factor == 1.0) return std::nullopt;
    return RopeScaling{.kind = RopeScaling::Kind::kLinear, .factor = factor};
  }
  const std::string where = origin + ": " + kFrequencyDivisors;
  SLICE_FORMAT_CHECK(factor == 1.0, "{}: beside linear rope scaling: not supported", where);
  const at::Tensor divisors = file.read(kFrequencyDivisors);
  if (divisors.eq(1).all().item<bool>()) return std::nullopt;
  return scaling_of_divisors(divisors, c, where);
}

std::vector<int64_t> parse_eos_tokens(const GgufFile& file) {
  std::vector<int64_t> tokens;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!file.metadata().contains(key)) continue;
    const auto id = file.get<int64_t>(key);
    if (std::find(tokens.begin(), tokens.end(), id) == tokens.end()) tokens.push_back(id);
  }
  return tokens;
}

/// Size of a query head, after what contradicts it was refused.
int64_t parse_head_size(const GgufFile& file, const ModelConfig& c, const std::string& origin) {
  const char* const kKeyLength = "llama.attention.key_length";
  SLICE_FORMAT_CHECK(file.metadata().contains(kKeyLength) || c.hidden_size % c.heads == 0,
                     "{}: llama.embedding_length {} is not a multiple of {} heads", origin,
                     c.hidden_size, c.heads);
  const auto size = file.get<int64_t>(kKeyLength, c.hidden_size / c.heads);
  for (const char* key : {"llama.rope.dimension_count", "llama.attention.value_length"}) {
    const auto other = file.get<int64_t>(key, size);
    SLICE_FORMAT_CHECK(other == size, "{}: {}: want the head size {}, got {}", origin, key, size,
                       other);
  }
  return size;
}

ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  const auto size = [&](const char* key) { return file.get<int64_t>(std::string("llama.") + key); };
  const auto has = [&](const std::string& name) { return file.tensors().contains(name); };
  SLICE_FORMAT_CHECK(file.get<int64_t>("llama.expert_count", 0) == 0,
                     "{}: llama.expert_count: mixtures of experts are not supported", origin);
  SLICE_FORMAT_CHECK(has(kEmbedding), "{}: tensor {} is missing", origin, kEmbedding);

  ModelConfig c;
  c.family = "llama";
  c.hidden_size = size("embedding_length");
  c.layers = size("block_count");
  c.heads = size("attention.head_count");
  SLICE_FORMAT_CHECK(c.heads > 0, "{}: llama.attention.head_count: want at least 1, got {}", origin,
                     c.heads);
  c.kv_heads = file.get<int64_t>("llama.attention.head_count_kv", c.heads);
  c.head_size = parse_head_size(file, c, origin);
  c.ffn_size = size("feed_forward_length");
  c.vocabulary_size = file.tensors().at(kEmbedding).shape[0];
  c.context_length = size("context_length");
  c.norm_eps = file.get<double>("llama.attention.layer_norm_rms_epsilon");
  c.rope_theta = file.get<double>("llama.rope.freq_base", 10000.0);
  c.rope_scaling = parse_gguf_scaling(file, c, origin);
  c.tied_head = !has("output.weight");
  c.attention_bias = has("blk.0.attn_q.bias");
  c.mlp_bias = has("blk.0.ffn_up.bias");
  if (file.metadata().contains("tokenizer.ggml.bos_token_id")) {
    c.bos_token = file.get<int64_t>("tokenizer.ggml.bos_token_id");
  }
  c.eos_tokens = parse_eos_tokens(file);
  return c;
}

/// "blk.7.attn_q.weight" → "model.layers.7.self_attn.q_proj.weight"
std::string huggingface_name(const std::string& gguf) {
  static const std::array<std::pair<std::string, std::string>, 3> kWhole = {{
      {kEmbedding, "model.embed_tokens.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"},
  }};
  static const std::array<std::pair<std::string, std::string>, 9> kParts = {{
      {"attn_norm", "input_layernorm"},
      {"attn_q", "self_attn.q_proj"},
      {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},
      {"attn_output", "self_attn.o_proj"},
      {"ffn_norm", "post_attention_layernorm"},
      {"ffn_gate", "mlp.gate_proj"},
      {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},
  }};
  for (const auto& [from, to] : kWhole) {
    if (gguf == from) return to;
  }
  if (gguf == kFrequencyDivisors) return "";  // parse_gguf_scaling has read them
  const std::string prefix = "blk.";
  if (gguf.starts_with(prefix)) {
    int64_t layer = -1;
    const char* const end = gguf.data() + gguf.size();
    const auto [rest, error] = std::from_chars(gguf.data() + prefix.size(), end, layer);
    const std::string tail(rest, end);  // ".attn_q.weight"
    for (const auto& [from, to] : kParts) {
      if (error != std::errc() || layer < 0 || !tail.starts_with("." + from + ".")) continue;
      return fmt::format("model.layers.{}.{}{}", layer, to, tail.substr(1 + from.size()));
    }
  }
  throw FormatError(fmt::format("tensor {} has no place in a LLaMA model", gguf));
}

}  // namespace

const Family& llama() {
  static const Family description = {
      .name = "llama",
      .model_type = "llama",
      .architecture = "LlamaForCausalLM",
      .gguf_architecture = "llama",
      .names = {.embedding = "model.embed_tokens",
                .layers = "model.layers",
                .final_norm = "model.norm",
                .head = "lm_head",
                .attention_norm = "input_layernorm",
                .q = "self_attn.q_proj",
                .k = "self_attn.k_proj",
                .v = "self_attn.v_proj",
                .o = "self_attn.o_proj",
                .mlp_norm = "post_attention_layernorm",
                .gate = "mlp.gate_proj",
                .up = "mlp.up_proj",
                .down = "mlp.down_proj"},
      .ignored_suffixes = {"rotary_emb.inv_freq"},
      .parse = parse,
      .write = write,
      .parse_gguf = parse_gguf,
      .huggingface_name = huggingface_name,
  };
  return description;
}

}  // namespace slice::models
