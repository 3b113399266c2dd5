#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace slice {

struct SamplingOptions {
  double temperature = 0;  ///< 0: greedy, the most likely token
  /// Nucleus: the fewest most likely tokens whose probabilities reach it (arXiv 1904.09751).
  double top_p = 1;
};

/// @throws ArgumentError  temperature < 0, top_p outside (0, 1]
void check_sampling(const SamplingOptions& options);

/// What a sampled token is a function of, besides the logits: the same place in the same text is
/// sampled alike in any batch, on the CPU and on a GPU.
struct SamplePlace {
  uint64_t seed = 0;
  uint64_t sequence = 0;  ///< number of the text among those of one seed
  int64_t position = 0;   ///< of the token that is sampled
};

/// Samples a token from the softmax of float32 logits at the temperature, kept to the nucleus;
/// probabilities to 1e-5 of themselves and 2⁻³⁸ of the largest (detail/sample.h says exactly how).
/// Of equally likely tokens those with the lowest ids are in the nucleus, and at temperature 0 the
/// lowest is taken.
///
/// @param logits  (V) floating point, V ≤ 2²⁴, rounded to float32    @return  an id in [0, V)
/// @throws ArgumentError  as check_sampling   @throws ShapeError  logits not (V)
/// @throws NumericError  a NaN or Inf in logits
int64_t sample_token(const at::Tensor& logits, const SamplingOptions& options,
                     const SamplePlace& place);

}  // namespace slice
