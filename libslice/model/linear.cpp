#include "libslice/model/linear.h"

#include <ATen/ATen.h>

#include "libslice/model/detail/placeholder.h"

namespace slice {
namespace detail {

at::Tensor placeholder(at::IntArrayRef shape) { return at::zeros({}, at::kFloat).expand(shape); }

bool is_placeholder(const at::Tensor& tensor) {
  if (tensor.numel() <= 1) return false;
  for (int64_t i = 0; i < tensor.dim(); ++i)
    if (tensor.size(i) > 1 && tensor.stride(i) != 0) return false;
  return true;
}

}  // namespace detail

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", detail::placeholder({out, in}), /*requires_grad=*/false);
  if (with_bias)
    bias = register_parameter("bias", detail::placeholder({out}), /*requires_grad=*/false);
}

at::Tensor LinearImpl::forward(const at::Tensor& x) const { return at::linear(x, weight, bias); }

void LinearImpl::add_bias() {
  bias = register_parameter("bias", at::zeros({weight.size(0)}, weight.options()),
                            /*requires_grad=*/false);
}

EmbeddingImpl::EmbeddingImpl(int64_t vocabulary, int64_t width) {
  weight = register_parameter("weight", detail::placeholder({vocabulary, width}),
                              /*requires_grad=*/false);
}

at::Tensor EmbeddingImpl::forward(const at::Tensor& ids) const {
  return at::embedding(weight, ids);
}

}  // namespace slice
