// The device side of detail/few_rows_layer.h.

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "cuda/decode_linear.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/few_rows_layer.h"
#include "libslice/decode/detail/rank_link.h"
#include "libslice/decode/detail/row_norms.h"
#include "libslice/decode/detail/step_kernels.h"
#include "libslice/device/detail/cuda_arguments.h"

namespace slice::detail {

using at::Tensor;
using kernels::DecodeLinear;
using kernels::Epilogue;
using ops::on_device::data_type;
using ops::on_device::pointer;

namespace {

/// The epilogue of an MLP's readers, where the kernel has it.
std::optional<Epilogue> epilogue_of(Activation activation, bool gated) {
  switch (activation) {
    case Activation::kSilu:
      return gated ? std::optional(Epilogue::kGatedSilu) : std::nullopt;
    case Activation::kRelu:
      return gated ? std::nullopt : std::optional(Epilogue::kRelu);
    case Activation::kRelu2:
      return gated ? std::nullopt : std::optional(Epilogue::kRelu2);
    case Activation::kGelu:
      return gated ? std::nullopt : std::optional(Epilogue::kGelu);
    case Activation::kGeluTanh:
      return gated ? Epilogue::kGatedGeluTanh : Epilogue::kGeluTanh;
    case Activation::kXielu:  // by the modules
      return std::nullopt;
  }
  return std::nullopt;
}

/// What a call of these operands has in common with every other: X (n, K), W (N, K), bias (N) or
/// undefined. The caller keeps them until it is launched.
DecodeLinear linear_of(const Tensor& X, const Tensor& W, const Tensor& bias) {
  DecodeLinear linear;
  linear.X = pointer(X);
  linear.W = pointer(W);
  linear.bias = pointer(bias);
  linear.type = data_type(X.scalar_type());
  linear.M = X.size(0);
  linear.N = W.size(0);
  linear.K = W.size(1);
  linear.x_row_stride = X.stride(0);
  return linear;
}

/// @param Y  (n, N), of pairs (n, N/2); written
void launch(StepKernels& kernels, DecodeLinear linear, Tensor& Y) {
  linear.Y = Y.mutable_data_ptr();
  linear.y_row_stride = Y.stride(0);
  kernels.run(linear);
}

/// @return  Y, in memory like that of `like`
Tensor launch(StepKernels& kernels, const DecodeLinear& linear, const Tensor& like) {
  Tensor Y = at::empty({linear.M, columns_of(linear)}, like.options());
  launch(kernels, linear, Y);
  return Y;
}

/// The norm before a product: part of it where it is a root mean square, else by itself.
/// @return  what the product reads, to be kept until it is launched
Tensor read_normed(StepKernels& kernels, DecodeLinear& linear, const Tensor& x, const Norm& norm) {
  if (norm->kind() == NormKind::kNone) return x;
  if (norm->centres()) {
    const Tensor n = kernels.normed(x, norm);  // (n, k)
    linear.X = pointer(n);
    linear.x_row_stride = n.stride(0);
    return n;
  }
  linear.norm_hidden = norm->hidden_size();
  linear.eps = norm->eps();
  linear.norm_weight = pointer(norm->weight);
  return x;
}

/// Adds Z·Vᵀ to what a product writes: in the same sum, or before it where the product has a scale.
/// @return  memory that the product reads, to be kept until it is launched
Tensor add_product(StepKernels& kernels, DecodeLinear& linear, const Tensor& Z, const Tensor& V) {
  if (linear.scale == 1) {
    linear.Z = pointer(Z);
    linear.V = pointer(V);
    linear.K2 = V.size(1);
    linear.z_row_stride = Z.stride(0);
    return Z;
  }
  DecodeLinear before = linear_of(Z, V, {});
  before.R = linear.R;
  before.diagonal = linear.diagonal;
  before.residual_columns = linear.residual_columns;
  before.r_row_stride = linear.r_row_stride;
  const Tensor sum = launch(kernels, before, Z);  // (n, N)
  linear.R = pointer(sum);
  linear.diagonal = nullptr;
  linear.residual_columns = sum.size(1);
  linear.r_row_stride = sum.stride(0);
  return sum;
}

/// Adds the shortcut's share to a writer of x (n, k_a).
/// @return  memory that the product reads, to be kept until it is launched
Tensor add_shortcut(StepKernels& kernels, DecodeLinear& linear, const Tensor& x,
                    const Shortcut& shortcut) {
  if (shortcut->weight.defined() && shortcut->weight.dim() == 2)
    return add_product(kernels, linear, x, shortcut->weight);
  linear.R = pointer(x);
  linear.r_row_stride = x.stride(0);
  linear.diagonal = pointer(shortcut->weight);
  linear.residual_columns =
      shortcut->weight.defined() ? shortcut->weight.size(0) : std::min(x.size(1), linear.N);
  if (!shortcut->up.defined()) return x;
  const Tensor low = launch(kernels, linear_of(x, shortcut->down, {}), x);
  return add_product(kernels, linear, low, shortcut->up);
}

/// Adds a rank's part of the shortcut's products; the rest of the shortcut comes with the sum.
/// @return  memory that the product reads, to be kept until it is launched
Tensor add_shortcut_part(StepKernels& kernels, DecodeLinear& linear, const Tensor& x,
                         const Shortcut& shortcut, const RankLink& link) {
  if (shortcut->weight.defined() && shortcut->weight.dim() == 2)
    return add_product(kernels, linear, link.own_columns(x), shortcut->weight);
  if (!shortcut->up.defined() || !link.adds_once()) return {};
  const Tensor low = launch(kernels, linear_of(x, shortcut->down, {}), x);
  return add_product(kernels, linear, low, shortcut->up);
}

}  // namespace

// Of a parallel block all readers come first and attention's writer last: what reads attention is
// then not what comes next, nor what attention reads what came last.
Tensor few_rows_sublayer(StepKernels& kernels, const DecodeModel& model, const DecodeSublayer& s,
                         const Tensor& x, const std::function<Tensor(const Tensor&)>& attend) {
  std::vector<Tensor> hidden;
  for (const DecodeBranch& branch : s.branches) {
    DecodeLinear readers = linear_of(x, branch.readers, branch.readers_bias);
    const Tensor read = read_normed(kernels, readers, x, branch.norm);
    const auto epilogue =
        branch.attention ? std::nullopt : epilogue_of(model.config.activation, branch.gated);
    readers.epilogue = epilogue.value_or(Epilogue::kNone);
    hidden.push_back(launch(kernels, readers, x));
    if (branch.attention || epilogue) continue;
    kernels.flush();
    hidden.back() = model.activated(hidden.back(), branch.gated);
  }
  Tensor y;
  for (size_t i = 0; i < hidden.size(); ++i)
    if (s.branches[i].attention) hidden[i] = attend(hidden[i]);
  for (size_t i = hidden.size(); i-- > 0;) {
    const DecodeBranch& branch = s.branches[i];
    DecodeLinear writer = linear_of(hidden[i], branch.writer, branch.writer_bias);
    writer.scale = s.scale;
    if (!s.out_norm.is_empty()) {
      kernels.flush();
      const Tensor o = launch(kernels, writer, x);
      y = added_normed(x, model.link != nullptr ? model.link->sum(o) : o, s.out_norm);
    } else if (y.defined()) {  // the second writer adds to what the first wrote
      writer.R = pointer(y);
      writer.r_row_stride = y.stride(0);
      writer.residual_columns = y.size(1);
      launch(kernels, writer, y);
    } else {
      const Tensor shortcut = model.link != nullptr
                                  ? add_shortcut_part(kernels, writer, x, s.shortcut, *model.link)
                                  : add_shortcut(kernels, writer, x, s.shortcut);
      y = launch(kernels, writer, x);
    }
  }
  if (model.link != nullptr && s.out_norm.is_empty()) return model.link->sum(y, x, s.shortcut);
  return y;
}

void few_rows_logits(StepKernels& kernels, const DecodeModel& model, const Tensor& x,
                     Tensor& logits) {
  const bool mapped = model.head_map.weight.defined();
  const LinearRef& first = mapped ? model.head_map : model.head;
  DecodeLinear reader = linear_of(x, first.weight, first.bias);
  const Tensor read = read_normed(kernels, reader, x, model.final_norm);
  const Tensor signal = mapped ? launch(kernels, reader, x) : read;  // (n, k_0)
  DecodeLinear head = mapped ? linear_of(signal, model.head.weight, model.head.bias) : reader;
  head.scale = model.logit_form.scale;
  if (model.link != nullptr) {
    model.link->gather_words(launch(kernels, head, x), logits);
  } else {
    launch(kernels, head, logits);
  }
  kernels.finish();
  const double cap = model.logit_form.softcap;
  if (cap > 0) logits.div_(cap).tanh_().mul_(cap);
}

}  // namespace slice::detail
