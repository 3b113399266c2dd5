#pragma once

#include "libslice/model/adapter.h"

namespace slice {

/// A reader's weight with its norm's weight folded in:  W diag(α), float64, (out, D).
/// (docs/method.md, "Fusion"; SliceGPT §3.2)
/// @throws ShapeError  widths differ.  Cost: one float64 copy of W.
at::Tensor fused_weight(const at::Tensor& W, const Norm& norm);

/// A reader's bias with its norm's bias folded in:  b + W β, float64, (out); undefined when the
/// reader has none. (docs/method.md, "Fusion")
/// @throws ShapeError  widths differ.  @throws ArgumentError  a β without a bias to hold it.
at::Tensor fused_bias(const LinearRef& reader, const Norm& norm);

/// Folds every norm into the layers that read it, in place, leaving norms whose weights are
/// ones and whose biases are zeros: the function is the same up to one rounding of each reader.
/// Slicing does this by itself, together with the rotation and in one rounding.
void fuse_norms(ModelAdapter& model);

/// X without the mean of every row or column: X M and M X with M = I − 11ᵀ/D, as a LayerNorm does
/// before it divides. (docs/method.md, "LayerNorm"; SliceGPT §3.1)
at::Tensor centred_rows(const at::Tensor& X);
at::Tensor centred_columns(const at::Tensor& X);

}  // namespace slice
