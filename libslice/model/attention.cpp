#include "libslice/model/attention.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <cmath>
#include <limits>

namespace slice {

using at::Tensor;

namespace {

/// (B, kv, T, d) → (B, kv·repeat, T, d), each head `repeat` times in a row.
Tensor repeat_heads(const Tensor& x, int64_t repeat) {
  if (repeat == 1) return x;
  return x.unsqueeze(2)
      .expand({x.size(0), x.size(1), repeat, x.size(2), x.size(3)})
      .reshape({x.size(0), x.size(1) * repeat, x.size(2), x.size(3)});
}

/// True where query t, at position first + t, sees a key: (T, first + T). Undefined where the
/// causal mask alone is enough.
Tensor mask(int64_t first, int64_t T, int64_t window, at::Device device) {
  const bool cut = window > 0 && first + T > window;
  if (!cut && (first == 0 || T == 1)) return {};
  Tensor seen = at::ones({T, first + T}, at::TensorOptions(device).dtype(at::kBool)).tril(first);
  return cut ? seen.triu(first - window + 1) : seen;
}

/// Attention by PyTorch's own GPU kernels.
/// @param seen  undefined: causal where `causal`, else everything
Tensor attend_on_gpu(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& seen,
                     bool causal, std::optional<double> scale) {
  if (!seen.defined())
    return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, /*dropout_p=*/0.0, causal,
                                                               /*return_debug_mask=*/false, scale));
  constexpr int64_t kAligned = 8;  // elements: the kernel reads rows of the bias by 16 bytes
  const int64_t T = seen.size(0), keys = seen.size(1);
  const int64_t width = (keys + kAligned - 1) / kAligned * kAligned;
  Tensor bias = at::zeros({T, width}, q.options()).slice(1, 0, keys);
  bias.masked_fill_(seen.logical_not(), -std::numeric_limits<double>::infinity());
  const bool differentiated =
      at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  return std::get<0>(at::_scaled_dot_product_efficient_attention(
      q, k, v, bias.expand({q.size(0), q.size(1), T, keys}), differentiated, /*dropout_p=*/0.0,
      /*is_causal=*/false, scale));
}

/// Whether they serve better than cuDNN's, which scaled_dot_product_attention prefers on Hopper and
/// compiles for each new shape: that takes longer than a short text, and pays for calibration
/// windows, which are long and all alike. They take 16-bit floats, and heads that fit.
bool takes_own_kernel(const Tensor& q, const Tensor& seen) {
  constexpr int64_t kLargestHead = 256, kHeadStep = 8, kLongText = 1024;
  return q.is_cuda() && (q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16) &&
         q.size(3) <= kLargestHead && q.size(3) % kHeadStep == 0 &&
         (seen.defined() || q.size(2) < kLongText);
}

/// Attention whose scores are capped before the softmax, which is in float32 at least.
Tensor attend_capped(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& seen,
                     bool causal, double scale, double softcap) {
  Tensor scores = at::matmul(q, k.transpose(2, 3)) * scale;  // (B, h, T, first + T)
  scores = at::tanh(scores / softcap) * softcap;
  Tensor visible = seen;
  if (causal) visible = at::ones({q.size(2), k.size(2)}, q.options().dtype(at::kBool)).tril();
  if (visible.defined())
    scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  const auto wide = at::toOpMathType(q.scalar_type());
  return at::matmul(at::softmax(scores, -1, wide).to(q.scalar_type()), v);
}

}  // namespace

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, int64_t first,
              const AttentionScores& scores) {
  const int64_t T = q.size(2), repeat = q.size(1) / k.size(1);
  const Tensor seen = mask(first, T, scores.window, q.device());
  const Tensor keys = repeat_heads(k, repeat), values = repeat_heads(v, repeat);
  const bool causal = !seen.defined() && first == 0 && T > 1;
  if (scores.softcap > 0) {
    const double scale = scores.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3))));
    return attend_capped(q, keys, values, seen, causal, scale, scores.softcap);
  }
  if (takes_own_kernel(q, seen)) return attend_on_gpu(q, keys, values, seen, causal, scores.scale);
  return at::scaled_dot_product_attention(
      q, keys, values, seen.defined() ? c10::optional<Tensor>(seen) : c10::nullopt,
      /*dropout_p=*/0.0, causal, scores.scale);
}

Attention::Attention(const ModelConfig& config, int64_t layer, AttentionParts parts)
    : layer_(layer),
      head_size_(config.head_size),
      head_norm_(config.head_norm),
      norms_turned_(config.norms_turned_heads),
      growth_(config.query_growth),
      scores_{.window = config.window(layer),
              .scale = config.attention_scale,
              .softcap = config.attention_softcap},
      parts_(std::move(parts)),
      rotary_(Rotary::of_layer(config, layer)) {}

Tensor Attention::split(const Tensor& x) const {
  return x.view({x.size(0), x.size(1), -1, head_size_});
}

Tensor Attention::turned(const Tensor& x, const Norm& norm, int64_t first) const {
  Tensor heads = head_norm_ == HeadNorm::kAll ? split(norm->forward(x)) : split(x);
  const bool each = head_norm_ == HeadNorm::kEach;
  if (each && !norms_turned_) heads = norm->forward(heads);
  if (rotary_) heads = rotary_->apply(heads, first);
  if (each && norms_turned_) heads = norm->forward(heads);
  return heads.transpose(1, 2);
}

Tensor Attention::grown(const Tensor& q, int64_t first) const {
  if (!growth_) return q;
  const auto options = at::TensorOptions().dtype(at::kDouble).device(q.device());
  const Tensor position = at::arange(first, first + q.size(2), options);  // (T)
  const Tensor turns = at::floor(position / static_cast<double>(growth_->period));
  const Tensor factor = 1 + growth_->beta * at::log1p(turns);
  return q * factor.to(q.scalar_type()).unsqueeze(1);  // (T, 1)
}

Tensor Attention::hidden(const Tensor& normed, KvCache* cache) const {
  const int64_t B = normed.size(0), T = normed.size(1), first = cache ? cache->length() : 0;
  const Tensor q = grown(turned(parts_.q->forward(normed), parts_.q_norm, first), first);
  Tensor k = turned(parts_.k->forward(normed), parts_.k_norm, first);  // (B, kv, T, d)
  Tensor v = split(parts_.v->forward(normed)).transpose(1, 2);         // (B, kv, T, d)
  if (cache) std::tie(k, v) = cache->append(layer_, k, v);             // (B, kv, first + T, d)

  const Tensor out = attend(q, k, v, first, scores_);  // (B, h, T, d)
  return out.transpose(1, 2).reshape({B, T, -1});
}

}  // namespace slice
