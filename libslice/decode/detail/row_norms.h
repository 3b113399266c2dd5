#pragma once

#include <ATen/core/Tensor.h>

#include "libslice/model/norm.h"

namespace slice::detail {

/// x (n, k) → (n, k) on a CUDA device: an RMSNorm, with its weight where it has one, in one kernel;
/// a LayerNorm by LibTorch.
at::Tensor normed(const Norm& norm, const at::Tensor& x);

/// x + norm(o): x and o (n, k) → (n, k), in one kernel.
at::Tensor added_normed(const at::Tensor& x, const at::Tensor& o, const Norm& norm);

}  // namespace slice::detail
