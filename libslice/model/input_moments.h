#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "libslice/base/progress.h"
#include "libslice/model/adapter.h"

namespace slice {

/// What a linear layer reads: how large each coordinate is.
struct InputMoment {
  at::Tensor squares;  ///< (in) float64, on the model's device: Σ x² over the tokens
  int64_t tokens = 0;  ///< of an expert's layers, those that go through it
};

/// By LinearRef::name.
using InputMoments = std::map<std::string, InputMoment>;

/// Second moments, without those between coordinates, of what every reader and writer of the
/// sublayers reads of a text; not of the head.
///
/// @param tokens  (N, T) int64, any device; every window is a text of its own
/// @throws ShapeError, ArgumentError  no tokens, or as embed() does
/// @throws NumericError  a NaN or Inf in what a layer reads (named)
/// Squares in float32 at least, summed in float64. Cost: one forward pass without the head, a
/// window at a time; of a mixture the experts run twice.
InputMoments input_moments(const ModelAdapter& model, const at::Tensor& tokens,
                           const OnProgress& on_progress = {});

}  // namespace slice
