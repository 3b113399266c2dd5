#include "libslice/model/mlp.h"

#include <ATen/ATen.h>

namespace slice {

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kRelu2:
      return at::relu(x).square();
    case Activation::kGeluTanh:
      break;
  }
  return at::gelu(x, "tanh");
}

at::Tensor Mlp::hidden(const at::Tensor& normed) const {
  const at::Tensor up = up_->forward(normed);
  if (gate_.is_empty()) return activate(activation_, up);
  const at::Tensor gate = activate(activation_, gate_->forward(normed));
  // Not in place where autograd may need the output of the activation.
  return up.requires_grad() ? gate * up : gate.mul_(up);
}

}  // namespace slice
