#include "libslice/model/rotary.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice {

using at::Tensor;

namespace {

/// A frequency of Llama 3's kind.
double smoothly_scaled(double frequency, const RopeScaling& s) {
  const double turns = static_cast<double>(s.original_context) * frequency / (2 * std::numbers::pi);
  if (turns < s.low_frequency_factor) return frequency / s.factor;
  if (turns > s.high_frequency_factor) return frequency;
  const double high = (turns - s.low_frequency_factor) /
                      (s.high_frequency_factor - s.low_frequency_factor);  // 0 … 1
  return (1 - high) * frequency / s.factor + high * frequency;
}

/// The number of the frequency, of r/2 and a fraction, that makes so many turns within the original
/// context.
double number_of_turns(double turns, int64_t rotary_size, double theta, const RopeScaling& s) {
  const double length = static_cast<double>(s.original_context);
  return static_cast<double>(rotary_size) * std::log(length / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

/// What share of each frequency is divided by the factor, YaRN: 0 for high ones, 1 for low ones.
std::vector<double> divided_shares(int64_t rotary_size, double theta, const RopeScaling& s) {
  double begin = number_of_turns(s.high_frequency_factor, rotary_size, theta, s);
  double end = number_of_turns(s.low_frequency_factor, rotary_size, theta, s);
  if (s.whole_dimensions) {
    begin = std::floor(begin);
    end = std::ceil(end);
  }
  begin = std::max(begin, 0.0);
  end = std::min(end, static_cast<double>(rotary_size - 1));
  if (begin == end) end += 0.001;  // a step, as the authors' code has it
  std::vector<double> shares;
  for (int64_t i = 0; i < rotary_size / 2; ++i)
    shares.push_back(std::clamp((static_cast<double>(i) - begin) / (end - begin), 0.0, 1.0));
  return shares;
}

/// The base for a text of `length` tokens, dynamic scaling.
double grown_base(double theta, int64_t rotary_size, int64_t length, const RopeScaling& s) {
  if (length <= s.original_context) return theta;
  const double r = static_cast<double>(rotary_size);
  const double longer = static_cast<double>(length) / static_cast<double>(s.original_context);
  return theta * std::pow(s.factor * longer - (s.factor - 1), r / (r - 2));
}

}  // namespace

Rotary::Rotary(int64_t rotary_size, double theta, const std::optional<RopeScaling>& scaling)
    : rotary_size_(rotary_size), theta_(theta), scaling_(scaling) {
  SLICE_ARGUMENT_CHECK(rotary_size > 0 && rotary_size % 2 == 0,
                       "rotary: want an even head size, got {}", rotary_size);
  SLICE_ARGUMENT_CHECK(theta > 0, "rotary: want theta > 0, got {}", theta);
}

std::optional<Rotary> Rotary::of_layer(const ModelConfig& config, int64_t layer) {
  const int64_t turning = config.turning(layer);
  if (turning == 0) return std::nullopt;
  if (config.window(layer) > 0 && config.window_rope_theta)
    return Rotary(turning, *config.window_rope_theta);
  return Rotary(turning, config.rope_theta, config.rope_scaling);
}

std::vector<double> Rotary::frequencies(int64_t length) const {
  using Kind = RopeScaling::Kind;
  const double theta = scaling_ && scaling_->kind == Kind::kDynamic
                           ? grown_base(theta_, rotary_size_, length, *scaling_)
                           : theta_;
  std::vector<double> result;
  for (int64_t i = 0; i < rotary_size_; i += 2)
    result.push_back(std::pow(theta, -static_cast<double>(i) / static_cast<double>(rotary_size_)));
  if (!scaling_) return result;
  const RopeScaling& s = *scaling_;
  const std::vector<double> shares = s.kind == Kind::kYarn ? divided_shares(rotary_size_, theta_, s)
                                                           : std::vector<double>(result.size(), 0);
  const auto& divisors = length > s.original_context ? s.long_factors : s.short_factors;
  for (size_t i = 0; i < result.size(); ++i) {
    double& frequency = result[i];
    if (s.kind == Kind::kLinear) frequency /= s.factor;
    if (s.kind == Kind::kLlama3) frequency = smoothly_scaled(frequency, s);
    if (s.kind == Kind::kYarn)
      frequency = shares[i] * frequency / s.factor + (1 - shares[i]) * frequency;
    if (s.kind == Kind::kLongRope) frequency /= divisors.at(i);
  }
  return result;
}

std::pair<Tensor, Tensor> Rotary::turns(int64_t first, int64_t n, int64_t length,
                                        at::Device device) const {
  const auto options = at::TensorOptions().dtype(at::kDouble).device(device);
  const Tensor frequency =
      at::tensor(frequencies(length), at::kDouble).to(device, /*non_blocking=*/true);  // (r/2)
  const Tensor angle = at::outer(at::arange(first, first + n, options), frequency);
  Tensor cosine = angle.cos(), sine = angle.sin();
  if (magnitude() != 1) {
    cosine.mul_(magnitude());
    sine.mul_(magnitude());
  }
  return {cosine, sine};
}

std::optional<int64_t> Rotary::fixed_length() const {
  using Kind = RopeScaling::Kind;
  if (!scaling_ || (scaling_->kind != Kind::kLongRope && scaling_->kind != Kind::kDynamic))
    return std::nullopt;
  return scaling_->original_context;
}

Tensor Rotary::apply(const Tensor& x, int64_t first) const {
  SLICE_CHECK(x.dim() == 4 && x.size(3) >= rotary_size_, "rotary: want (B, T, h, {}), got {}",
              rotary_size_, detail::describe(x));
  const auto wide = at::toOpMathType(x.scalar_type());
  auto [cosine, sine] = turns(first, x.size(1), first + x.size(1), x.device());
  cosine = cosine.unsqueeze(1).to(wide);  // (T, 1, r/2)
  sine = sine.unsqueeze(1).to(wide);
  const int64_t half = rotary_size_ / 2;
  const Tensor u = x.slice(3, 0, half), v = x.slice(3, half, rotary_size_);
  if (!x.requires_grad()) {  // autograd does not allow writing into existing memory
    Tensor turned = at::empty_like(x, at::MemoryFormat::Contiguous);
    Tensor first_half = turned.slice(3, 0, half), second = turned.slice(3, half, rotary_size_);
    at::sub_out(first_half, u * cosine, v * sine);  // in `wide`, rounded as it is stored
    at::add_out(second, v * cosine, u * sine);
    if (x.size(3) > rotary_size_) turned.slice(3, rotary_size_).copy_(x.slice(3, rotary_size_));
    return turned;
  }
  const Tensor turned =
      at::cat({u * cosine - v * sine, v * cosine + u * sine}, 3).to(x.scalar_type());
  return x.size(3) == rotary_size_ ? turned : at::cat({turned, x.slice(3, rotary_size_)}, 3);
}

}  // namespace slice
