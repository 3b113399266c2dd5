// The device side of detail/many_rows_layer.h.

#include <ATen/ATen.h>

#include "cuda/gated_silu.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/device/detail/ops_cuda.h"

namespace slice::detail {

using at::Tensor;
using ops::on_device::check;
using ops::on_device::current_stream;
using ops::on_device::data_type;

namespace {

/// What a sublayer's writers add to: the shortcut of x (n, k_a) and their biases, (n, k_b). In x's
/// own memory where the widths agree and the shortcut is no full matrix.
Tensor shortcut_and_biases(const DecodeSublayer& s, Tensor x) {
  const Tensor &weight = s.shortcut->weight, &up = s.shortcut->up;
  const int64_t width = s.branches[0].writer.size(0);
  Tensor y = x, low;
  if (up.defined()) low = at::linear(x, s.shortcut->down);  // (n, R)
  if (weight.defined() && weight.dim() == 2) {
    y = at::linear(x, weight);
  } else {
    if (weight.defined()) y = y.narrow(1, 0, weight.size(0)).mul_(weight);
    if (y.size(1) != width) y = at::constant_pad_nd(y, {0, width - y.size(1)});
  }
  if (low.defined()) y.addmm_(low, up.t());
  for (const DecodeBranch& branch : s.branches)
    if (branch.writer_bias.defined()) y.add_(branch.writer_bias);
  return y;
}

/// What readers of the feed-forward network gave, (n, rows) → what its writer reads, (n, F).
Tensor activated(const DecodeModel& model, const Tensor& read, bool gated) {
  if (!gated || model.config.activation != Activation::kSilu) return model.activated(read, gated);
  Tensor h = at::empty({read.size(0), read.size(1) / 2}, read.options());
  check(kernels::gated_silu(h.mutable_data_ptr(), read.const_data_ptr(),
                            data_type(read.scalar_type()), h.numel(), current_stream()),
        "gated_silu");
  return h;
}

/// x (n, k) → (n, k): RMSNorm, with its weight where it has one, in one kernel; LayerNorm by
/// LibTorch
Tensor normed(const Norm& norm, const Tensor& x) {
  if (norm->centres()) return norm->forward(x);
  return ops::on_device::rms_norm(x, norm->hidden_size(), norm->eps(), norm->weight);
}

}  // namespace

Tensor many_rows_sublayer(const DecodeModel& model, const DecodeSublayer& s, const Tensor& x,
                          const std::function<Tensor(const Tensor&)>& attend) {
  const Tensor n = normed(s.norm, x);    // (n, k_a)
  Tensor y = shortcut_and_biases(s, x);  // (n, k_b)
  for (const DecodeBranch& branch : s.branches) {
    const Tensor read = at::linear(n, branch.readers, branch.readers_bias);  // (n, rows)
    const Tensor hidden = branch.attention ? attend(read) : activated(model, read, branch.gated);
    y.addmm_(hidden, branch.writer.t());
  }
  return y;
}

void many_rows_logits(const DecodeModel& model, const Tensor& x, Tensor& logits) {
  logits.copy_(at::linear(normed(model.final_norm, x), model.head.weight, model.head.bias));
}

}  // namespace slice::detail
