#include "libslice/model/mlp.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/model/detail/placeholder.h"

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
    case Activation::kXielu:
      throw ArgumentError("xIELU has constants of its own");
    case Activation::kGeluTanh:
      break;
  }
  return at::gelu(x, "tanh");
}

XieluImpl::XieluImpl() {
  const auto constant = [this](const char* name, at::IntArrayRef shape) {
    return register_parameter(name, detail::placeholder(shape), /*requires_grad=*/false);
  };
  alpha_p = constant("alpha_p", {1});
  alpha_n = constant("alpha_n", {1});
  beta = constant("beta", {});
  eps = constant("eps", {});
}

at::Tensor XieluImpl::forward(const at::Tensor& x) const {
  const at::Tensor a = at::softplus(alpha_p), c = beta + at::softplus(alpha_n);  // (1)
  const at::Tensor positive = a * x * x + beta * x,
                   negative = (at::expm1(at::minimum(x, eps)) - x) * c + beta * x;
  return at::where(x > 0, positive, negative);
}

at::Tensor Mlp::hidden(const at::Tensor& normed) const {
  const at::Tensor up = up_->forward(normed);
  if (!xielu_.is_empty()) return xielu_->forward(up);
  if (gate_.is_empty()) return activate(activation_, up);
  const at::Tensor gate = activate(activation_, gate_->forward(normed));
  // Not in place where autograd may need the output of the activation.
  return up.requires_grad() ? gate * up : gate.mul_(up);
}

}  // namespace slice
