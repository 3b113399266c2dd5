// The device side of detail/many_rows_layer.h.

#include <ATen/ATen.h>

#include "cuda/gated_activation.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/decode/detail/rank_link.h"
#include "libslice/decode/detail/row_norms.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"

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
    if (branch.writer_bias.defined()) y.add_(branch.writer_bias, s.scale);
  return y;
}

/// What a rank's writers give of their inputs, with its part of the shortcut's products: (n, k_b).
Tensor part_of_rank(const DecodeSublayer& s, const Tensor& x, const std::vector<Tensor>& hidden,
                    const RankLink& link) {
  const Tensor &weight = s.shortcut->weight, &up = s.shortcut->up;
  Tensor y;
  if (weight.defined() && weight.dim() == 2) {
    y = at::linear(link.own_columns(x), weight);
  } else if (up.defined() && link.adds_once()) {
    y = at::linear(at::linear(x, s.shortcut->down), up);
  }
  for (size_t i = 0; i < hidden.size(); ++i) {
    const DecodeBranch& branch = s.branches[i];
    if (!y.defined()) {
      y = at::linear(hidden[i], branch.writer);
      if (s.scale != 1) y.mul_(s.scale);
    } else {
      y.addmm_(hidden[i], branch.writer.t(), /*beta=*/1, /*alpha=*/s.scale);
    }
    if (branch.writer_bias.defined()) y.add_(branch.writer_bias, s.scale);
  }
  return y;
}

/// What readers of the feed-forward network gave, (n, rows) → what its writer reads, (n, F).
Tensor activated(const DecodeModel& model, const Tensor& read, bool gated) {
  const Activation activation = model.config.activation;
  if (!gated || (activation != Activation::kSilu && activation != Activation::kGeluTanh))
    return model.activated(read, gated);
  const auto gate =
      activation == Activation::kSilu ? kernels::Gate::kSilu : kernels::Gate::kGeluTanh;
  Tensor h = at::empty({read.size(0), read.size(1) / 2}, read.options());
  check(kernels::gated_activation(h.mutable_data_ptr(), read.const_data_ptr(), gate,
                                  data_type(read.scalar_type()), h.numel(), current_stream()),
        "gated_activation");
  return h;
}

}  // namespace

Tensor many_rows_sublayer(const DecodeModel& model, const DecodeSublayer& s, const Tensor& x,
                          const std::function<Tensor(const Tensor&)>& attend) {
  std::vector<Tensor> hidden;  // of each branch, (n, in)
  Tensor n;                    // (n, k_a), of the last norm
  const NormImpl* of = nullptr;
  for (const DecodeBranch& branch : s.branches) {
    if (branch.norm.get() != of) n = normed(branch.norm, x);
    of = branch.norm.get();
    const Tensor read = at::linear(n, branch.readers, branch.readers_bias);  // (n, rows)
    hidden.push_back(branch.attention ? attend(read) : activated(model, read, branch.gated));
  }
  if (!s.out_norm.is_empty()) {  // one branch, in the basis of the stream
    const DecodeBranch& branch = s.branches[0];
    Tensor o = at::linear(hidden[0], branch.writer, branch.writer_bias);
    if (s.scale != 1) o.mul_(s.scale);
    if (model.link != nullptr) o = model.link->sum(o);
    return added_normed(x, o, s.out_norm);
  }
  if (model.link != nullptr)
    return model.link->sum(part_of_rank(s, x, hidden, *model.link), x, s.shortcut);
  Tensor y = shortcut_and_biases(s, x);  // (n, k_b)
  for (size_t i = 0; i < hidden.size(); ++i)
    y.addmm_(hidden[i], s.branches[i].writer.t(), /*beta=*/1, /*alpha=*/s.scale);
  return y;
}

void many_rows_logits(const DecodeModel& model, const Tensor& x, Tensor& logits) {
  Tensor signal = normed(model.final_norm, x);
  if (model.head_map.weight.defined())
    signal = at::linear(signal, model.head_map.weight, model.head_map.bias);
  const Tensor own =
      model.logit_form(at::linear(signal, model.head.weight, model.head.bias));  // (n, own words)
  if (model.link != nullptr) {
    model.link->gather_words(own.contiguous(), logits);
  } else {
    logits.copy_(own);
  }
}

}  // namespace slice::detail
