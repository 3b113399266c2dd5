#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <random>

namespace slice {

struct SamplingOptions {
  double temperature = 0;  ///< 0: greedy, the most likely token
  double top_p = 1;  ///< nucleus: the fewest most likely tokens whose probabilities reach it (arXiv
                     ///< 1904.09751)
};

/// Draws a token. Repeatable: one draw from `random` a call when the temperature is above 0, none
/// otherwise.
///
/// @param logits  (V) floating point    @return  an id in [0, V)
/// @throws ShapeError  temperature < 0, top_p outside (0, 1], logits not (V)   @throws NumericError
/// a NaN in logits
int64_t sample_token(const at::Tensor& logits, const SamplingOptions& options,
                     std::mt19937_64& random);

}  // namespace slice
