#include "libslice/model/families/gguf_rope.h"

#include <ATen/ATen.h>

#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/rope_magnitudes.h"
#include "libslice/model/rotary.h"

namespace slice::models {

using at::Tensor;

namespace {

using Kind = RopeScaling::Kind;

constexpr const char* kFrequencyDivisors = "rope_freqs.weight";
constexpr const char *kShortDivisors = "rope_factors_short.weight",
                     *kLongDivisors = "rope_factors_long.weight";

/// Llama 3's scaling as llama.cpp stores it: the divisor of every frequency, without metadata. All
/// published models have the same constants except for the factor, which is the largest divisor.
RopeScaling scaling_of_divisors(const Tensor& divisors, const ModelConfig& c,
                                const std::string& where) {
  SLICE_FORMAT_CHECK(divisors.dim() == 1 && divisors.size(0) == c.head_size / 2,
                     "{}: want {} divisors, got {}", where, c.head_size / 2,
                     detail::describe(divisors));
  SLICE_FORMAT_CHECK(c.head_size > 0 && c.head_size % 2 == 0 && c.rope_theta > 0,
                     "{}: want pairs and a positive base, got a head size of {} and {}", where,
                     c.head_size, c.rope_theta);
  const Tensor wide = divisors.to(at::kDouble);
  const RopeScaling scaling{.kind = Kind::kLlama3, .factor = wide.max().item<double>()};
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

/// The number at a key; `otherwise`, unrounded, where it is missing or equals that in float32.
double real_or(const GgufFile& file, const std::string& key, double otherwise) {
  const auto value = file.get<double>(gguf_key(file, key), otherwise);
  return static_cast<float>(value) == static_cast<float>(otherwise) ? otherwise : value;
}

RopeScaling parse_yarn(const GgufFile& file, const ModelConfig& c) {
  RopeScaling s{.kind = Kind::kYarn,
                .factor = file.get<double>(gguf_key(file, "rope.scaling.factor")),
                .low_frequency_factor = real_or(file, "rope.scaling.yarn_beta_slow", 1),
                .high_frequency_factor = real_or(file, "rope.scaling.yarn_beta_fast", 32),
                .original_context = gguf_original_context(file, c)};
  // Of an architecture that heeds it: the magnitude is divided by that of a share of the logarithm.
  const double share = file.get<double>("mistral3.rope.scaling.yarn_log_multiplier", 0.0);
  const double usual = usual_yarn_magnitude(s.factor) / usual_yarn_magnitude(s.factor, share);
  s.attention_factor = real_or(file, "rope.scaling.yarn_attn_factor",
                               usual * real_or(file, "rope.scaling.attn_factor", 1));
  return s;
}

std::vector<double> divisors_of(const GgufFile& file, const char* name, const ModelConfig& c) {
  const Tensor divisors = file.read(name);
  const int64_t pairs = c.rotary_size.value_or(c.head_size) / 2;
  SLICE_FORMAT_CHECK(divisors.dim() == 1 && divisors.size(0) == pairs,
                     "{}: {}: want {} divisors, got {}", file.path().string(), name, pairs,
                     detail::describe(divisors));
  const Tensor wide = divisors.to(at::kDouble);
  const auto* begin = wide.const_data_ptr<double>();
  return {begin, begin + pairs};
}

RopeScaling parse_longrope(const GgufFile& file, const ModelConfig& c) {
  RopeScaling s{.kind = Kind::kLongRope, .original_context = gguf_original_context(file, c)};
  const auto original = static_cast<double>(s.original_context);
  s.factor = std::max(1.0, static_cast<double>(c.context_length) / original);
  const double usual = usual_longrope_magnitude(s.factor, original);
  s.attention_factor = file.metadata().contains(gguf_key(file, "rope.scaling.attn_factor"))
                           ? real_or(file, "rope.scaling.attn_factor", usual)
                           : 1;
  s.short_factors = divisors_of(file, kShortDivisors, c);
  s.long_factors = divisors_of(file, kLongDivisors, c);
  return s;
}

std::optional<RopeScaling> parse_scaling(const GgufFile& file, const ModelConfig& c) {
  const std::string origin = file.path().string();
  const auto kind = file.get<std::string>(gguf_key(file, "rope.scaling.type"), "none");
  const auto has = [&](const char* name) { return file.tensors().contains(name); };
  const bool longrope = has(kLongDivisors) || has(kShortDivisors);
  SLICE_FORMAT_CHECK(has(kFrequencyDivisors) + longrope + (kind == "yarn") <= 1,
                     "{}: rope scaling of several kinds together is not supported", origin);
  if (kind == "yarn") return parse_yarn(file, c);
  if (longrope) return parse_longrope(file, c);
  SLICE_FORMAT_CHECK(kind == "none" || kind == "linear", "{}: rope scaling '{}' is not supported",
                     origin, kind);
  const double factor = kind == "linear"
                            ? file.get<double>(gguf_key(file, "rope.scaling.factor"))
                            : file.get<double>(gguf_key(file, "rope.scale_linear"), 1.0);
  if (!file.tensors().contains(kFrequencyDivisors)) {
    if (factor == 1.0) return std::nullopt;
    return RopeScaling{.kind = Kind::kLinear, .factor = factor};
  }
  const std::string where = origin + ": " + kFrequencyDivisors;
  SLICE_FORMAT_CHECK(factor == 1.0, "{}: together with linear rope scaling: not supported", where);
  const Tensor divisors = file.read(kFrequencyDivisors);
  if (divisors.eq(1).all().item<bool>()) return std::nullopt;
  return scaling_of_divisors(divisors, c, where);
}

}  // namespace

int64_t gguf_original_context(const GgufFile& file, const ModelConfig& c) {
  return file.get<int64_t>(gguf_key(file, "rope.scaling.original_context_length"),
                           c.context_length);
}

void parse_gguf_rope(const GgufFile& file, ModelConfig& c) {
  c.rope_theta = file.get<double>(gguf_key(file, "rope.freq_base"), 10000.0);
  const int64_t turning = gguf_uniform_size(file, "rope.dimension_count", c.head_size);
  if (turning != c.head_size) c.rotary_size = turning;
  c.rope_scaling = parse_scaling(file, c);
}

void parse_gguf_whole_rope(const GgufFile& file, ModelConfig& c) {
  parse_gguf_rope(file, c);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: {}: want the head size {}, got {}", file.path().string(),
                     gguf_key(file, "rope.dimension_count"), c.head_size,
                     c.rotary_size.value_or(0));
}

bool is_gguf_rope_tensor(const std::string& name) {
  return name == kFrequencyDivisors || name == kShortDivisors || name == kLongDivisors;
}

std::vector<std::pair<std::string, Tensor>> gguf_rope_tensors(const ModelConfig& c) {
  if (!c.rope_scaling) return {};
  const RopeScaling& s = *c.rope_scaling;
  const auto row = [](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(at::kFloat);
  };
  if (s.kind == Kind::kLongRope)
    return {{kLongDivisors, row(s.long_factors)}, {kShortDivisors, row(s.short_factors)}};
  if (s.kind != Kind::kLlama3) return {};
  const Rotary plain(c.head_size, c.rope_theta), scaled(c.head_size, c.rope_theta, s);
  const Tensor divisors =
      at::tensor(plain.frequencies(), at::kDouble) / at::tensor(scaled.frequencies(), at::kDouble);
  return {{kFrequencyDivisors, divisors.to(at::kFloat)}};
}

}  // namespace slice::models
