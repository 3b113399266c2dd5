// The device side of detail/skinny_layer.h.

#include <ATen/ATen.h>

#include <algorithm>

#include "cuda/decode_linear.h"
#include "libslice/decode/detail/decode_linear.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"

namespace slice::ops::on_device {

using at::Tensor;
using kernels::Epilogue;

std::optional<Epilogue> epilogue_of(Activation activation, bool gated) {
  if (gated)
    return activation == Activation::kSilu ? std::optional(Epilogue::kGatedSilu) : std::nullopt;
  switch (activation) {
    case Activation::kRelu:
      return Epilogue::kRelu;
    case Activation::kGelu:
      return Epilogue::kGelu;
    case Activation::kGeluTanh:
      return Epilogue::kGeluTanh;
    default:
      return std::nullopt;
  }
}

kernels::SkinnyLinear skinny(const Tensor& X, const Tensor& W, const Tensor& bias) {
  kernels::SkinnyLinear layer;
  layer.X = pointer(X);
  layer.W = pointer(W);
  layer.bias = pointer(bias);
  layer.type = data_type(X.scalar_type());
  layer.M = X.size(0);
  layer.N = W.size(0);
  layer.K = W.size(1);
  layer.x_row_stride = X.stride(0);
  return layer;
}

void launch(kernels::SkinnyLinear layer, Tensor& Y) {
  layer.Y = Y.mutable_data_ptr();
  layer.y_row_stride = Y.stride(0);
  check(kernels::skinny_linear(layer, current_stream()), "skinny_linear");
}

Tensor launch(const kernels::SkinnyLinear& layer, const Tensor& like) {
  const bool gated = layer.epilogue == Epilogue::kGatedSilu;
  Tensor Y = at::empty({layer.M, gated ? layer.N / 2 : layer.N}, like.options());
  launch(layer, Y);
  return Y;
}

Tensor read_normed(kernels::SkinnyLinear& layer, const Tensor& x, const Norm& norm) {
  if (norm->weighted() && norm->kind() == NormKind::kLayer) {
    const Tensor n = norm->forward(x);  // (B, k)
    layer.X = pointer(n);
    layer.x_row_stride = n.stride(0);
    return n;
  }
  layer.norm_hidden = norm->hidden_size();
  layer.eps = norm->eps();
  layer.norm_weight = pointer(norm->weight);
  return x;
}

Tensor add_shortcut(kernels::SkinnyLinear& layer, const Tensor& x, const Shortcut& shortcut) {
  const auto add_product = [&](const Tensor& Z, const Tensor& V) {
    layer.Z = pointer(Z);
    layer.V = pointer(V);
    layer.K2 = V.size(1);
    layer.z_row_stride = Z.stride(0);
  };
  if (shortcut->weight.defined() && shortcut->weight.dim() == 2) {
    add_product(x, shortcut->weight);
    return x;
  }
  layer.R = pointer(x);
  layer.r_row_stride = x.stride(0);
  layer.diagonal = pointer(shortcut->weight);
  layer.residual_columns =
      shortcut->weight.defined() ? shortcut->weight.size(0) : std::min(x.size(1), layer.N);
  if (!shortcut->up.defined()) return x;
  const Tensor low = launch(skinny(x, shortcut->down, {}), x);  // (B, R)
  add_product(low, shortcut->up);
  return low;
}

}  // namespace slice::ops::on_device
