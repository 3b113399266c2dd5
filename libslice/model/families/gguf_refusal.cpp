#include <algorithm>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/model/families/gguf_architectures.h"

namespace slice::models {
namespace {

using Head = GgufArchitecture::Head;
using Biases = GgufArchitecture::Biases;
using Shares = GgufArchitecture::Shares;
using Kind = RopeScaling::Kind;
using Refusal = std::optional<std::string>;

constexpr int64_t kExaone4HybridLayers = 64, kSmolLm3Pattern = 4;
constexpr double kYarnFast = 32, kYarnSlow = 1;

/// "an olmo"
std::string with_article(const std::string& family) {
  return (std::string("aeio").find(family[0]) == std::string::npos ? "a " : "an ") + family;
}

Refusal refuse_biases(Biases there, bool held, const char* which, const std::string& family) {
  if (there == Biases::kNone && held)
    return detail::formatted("llama.cpp has no biases in {}: of {}", with_article(family), which);
  if (there == Biases::kRequired && !held)
    return detail::formatted("llama.cpp wants biases in {}: of {}", with_article(family), which);
  return std::nullopt;
}

Refusal refuse_head(const GgufArchitecture& a, const ModelConfig& c) {
  if (a.head == Head::kTied && !c.tied_head)
    return detail::formatted("llama.cpp ties the head of {}", with_article(c.family));
  if (a.head == Head::kOwn && c.tied_head)
    return detail::formatted("llama.cpp wants a head of its own in {}", with_article(c.family));
  return std::nullopt;
}

/// Whether the heads of a layer turn there.
bool turns(const GgufArchitecture& a, const ModelConfig& c, int64_t layer) {
  if (a.name == "gpt2") return false;
  if (a.name == "cohere2") return c.window(layer) > 0;
  if (a.name == "exaone4") return !c.sliding_window || c.window(layer) > 0;
  return a.name != "smollm3" || (layer + 1) % kSmolLm3Pattern != 0;
}

Refusal refuse_layers(const GgufArchitecture& a, const ModelConfig& c) {
  const std::string family = with_article(c.family);
  const bool unheeded = c.window_layers.empty() &&
                        (c.family == "mistral" || c.family == "mixtral" || c.family == "phi3");
  const bool hybrid = a.name == "exaone4" && c.layers == kExaone4HybridLayers;
  if (c.sliding_window && (a.name == "exaone4" ? !hybrid : !a.windows && !unheeded))
    return detail::formatted("llama.cpp has no sliding window in {}", family);
  if (!c.sliding_window && (hybrid || a.name == "gemma2" || a.name == "cohere2"))
    return detail::formatted("llama.cpp wants a sliding window in {}", family);
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    if ((c.turning(layer) > 0) != turns(a, c, layer))
      return detail::formatted("llama.cpp has rotary positions in other layers of {}", family);
  }
  if (a.name == "falcon" && !c.parallel_block)
    return detail::formatted("llama.cpp has no sequential blocks in {}", family);
  return std::nullopt;
}

Refusal refuse_rope(const GgufArchitecture& a, const ModelConfig& c) {
  const std::string family = with_article(c.family);
  if (c.rotary_size && !a.turns_in_part)
    return detail::formatted("llama.cpp turns whole heads in {}", family);
  if (c.window_rope_theta && a.name != "gemma3" && c.window_rope_theta != c.rope_theta)
    return detail::formatted("llama.cpp has one rotary base in {}", family);
  if (!c.rope_scaling) return std::nullopt;
  const RopeScaling& s = *c.rope_scaling;
  if (std::ranges::find(a.scalings, s.kind) == a.scalings.end())
    return detail::formatted("llama.cpp has no such rope scaling in {}", family);
  const bool usual = s.low_frequency_factor == kYarnSlow && s.high_frequency_factor == kYarnFast;
  if (s.kind == Kind::kYarn && !(s.whole_dimensions && (usual || a.name == "mistral3")))
    return detail::formatted(
        "llama.cpp has no rope scaling by YaRN with beta_slow {}, beta_fast {} and truncate {} in "
        "{}",
        s.low_frequency_factor, s.high_frequency_factor, s.whole_dimensions, family);
  if (c.query_growth && s.kind == Kind::kYarn && c.query_growth->period != s.original_context)
    return detail::formatted("llama.cpp lets queries of {} grow by YaRN's original context",
                             family);
  return std::nullopt;
}

/// The scale of scores, where it is not a key.
double attention_scale(const GgufArchitecture& a, const ModelConfig& c) {
  const bool large =
      (a.name == "gemma2" && c.layers == 46) || (a.name == "gemma3" && c.layers == 62);  // the 27B
  const int64_t size = large ? c.hidden_size / c.heads : c.head_size;
  return 1 / std::sqrt(static_cast<double>(size));
}

Refusal refuse_scales(const GgufArchitecture& a, const ModelConfig& c) {
  const double want = attention_scale(a, c);
  const double scale = c.attention_scale.value_or(1 / std::sqrt(static_cast<double>(c.head_size)));
  if (a.name != "granite" && std::abs(scale - want) > 1e-9 * want)
    return detail::formatted("llama.cpp multiplies scores by {} in {}, not by {}", want,
                             with_article(c.family), scale);
  if (a.name == "gemma2" && (c.attention_softcap == 0 || c.logit_softcap == 0))
    return detail::formatted("llama.cpp wants soft caps of scores and logits in {}",
                             with_article(c.family));
  return std::nullopt;
}

Refusal refuse_activation(const GgufArchitecture& a, const ModelConfig& c) {
  if (c.activation == a.activation) return std::nullopt;
  return detail::formatted("llama.cpp has no such activation in {}", with_article(c.family));
}

Refusal refuse_sizes(const GgufArchitecture& a, const ModelConfig& c) {
  const std::string family = with_article(c.family);
  if (!c.ffn_sizes.empty() && !a.uneven)
    return detail::formatted("llama.cpp wants one FFN width in {}", family);
  if (!a.free_heads && c.heads * c.head_size != c.hidden_size)
    return detail::formatted(
        "llama.cpp wants heads of hidden size / heads in {}: got heads of {} in {}", family,
        c.head_size, c.hidden_size);
  return std::nullopt;
}

Refusal refuse_experts(const GgufArchitecture& a, const ModelConfig& c) {
  if (!c.routed()) return std::nullopt;
  const std::string family = with_article(c.family);
  if (a.shares == Shares::kNone) return detail::formatted("llama.cpp has no experts in {}", family);
  const bool divides = a.shares == Shares::kNormalised;
  if (c.experts.normalised != divides)
    return detail::formatted("llama.cpp {} the shares of experts by their sum in {}",
                             divides ? "divides" : "does not divide", family);
  if (a.name == "olmoe" && c.kv_heads != c.heads)
    return detail::formatted("llama.cpp wants as many key heads as query heads in {}: got {} of {}",
                             family, c.kv_heads, c.heads);
  return std::nullopt;
}

}  // namespace

std::optional<std::string> gguf_refusal(const GgufArchitecture& a, const ModelConfig& c) {
  if (auto why = refuse_biases(a.qkv, c.qkv_bias, "q, k and v", c.family)) return why;
  if (auto why = refuse_biases(a.output, c.output_bias, "attention's output", c.family)) return why;
  if (auto why = refuse_biases(a.mlp, c.mlp_bias, "the feed-forward network", c.family)) return why;
  for (const auto refuse : {refuse_head, refuse_layers, refuse_rope, refuse_scales,
                            refuse_activation, refuse_sizes, refuse_experts})
    if (auto why = refuse(a, c)) return why;
  return std::nullopt;
}

}  // namespace slice::models
