#include "libslice/mlp.h"

#include <ATen/ATen.h>

namespace slice {

at::Tensor GatedMlp::hidden(const at::Tensor& normed) const {
  return at::silu(gate_->forward(normed)).mul_(up_->forward(normed));
}

}  // namespace slice
