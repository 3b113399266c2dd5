#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/next_token.h"

namespace slice::kernels {

/// How a row's next token is sampled. It lies on the device, so one captured launch serves any.
struct TokenSampling {
  uint64_t seed, sequence;
  uint64_t top_p;  ///< ⌈2³² · top_p⌉, in [1, 2³²]
  float steps;     ///< 2¹⁸ / (temperature · ln 2), finite and above 0; infinity: as next_token
};

/// next_token with t sampled from the nucleus of softmax(logits / temperature) instead:
///
///   qᵢ = ⌊(max l − lᵢ) · steps⌉,   wᵢ = 2³⁸ · 2^(−qᵢ / 2¹⁸), 0 from q = 38 · 2¹⁸ on
///   nucleus: the fewest tokens, smallest q first and of equal ones the lowest id, with
///            Σ w ≥ top_p Σ w of all
///   t: the first id for which the nucleus' sum up to it is above ⌊random · Σ w / 2⁶⁴⌋
///
/// `random`: words 0 and 1 of Philox4x32-10 (Salmon et al., SC 2011), counter (p + 1, sequence),
/// key seed. All of it but q is integer arithmetic and q does not depend on any order, so the token
/// is that of libslice/decode/detail/sample.h, bit for bit.
///
/// @param next   with logits; its workspace is not used; at most 2²⁴ ids
/// @param samplings  (batch), on the device
/// @return  cudaErrorInvalidValue for a bad size or a missing pointer; else the launch's.
cudaError_t sample_token(const NextToken& next, const TokenSampling* samplings,
                         cudaStream_t stream);

}  // namespace slice::kernels
