#pragma once

#include "libslice/adapter.h"

namespace slice {

/// A reader's weight with its norm's weight folded in:  W diag(α), float64, (out, D). (mathematics
/// §2.3; SliceGPT §3.2)
/// @throws ShapeError  widths differ.  Cost: one float64 copy of W.
at::Tensor fused_weight(const at::Tensor& W, const RmsNorm& norm);

/// Folds every norm into the layers that read it, in place, leaving norms whose weight is
/// one: the function computed is the same up to one rounding of each reader. Slicing does this by
/// itself, together with the rotation and in one rounding.
void fuse_norms(ModelAdapter& model);

}  // namespace slice
