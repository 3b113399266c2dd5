#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "libslice/decode/request.h"

namespace slice::detail {

/// logits (t, V) → logarithms of the softmax, float32 at least, new memory on the same device
at::Tensor log_probabilities(const at::Tensor& logits);

/// Those of some tokens and of the likeliest ones, ties in no order. Waits for the device.
/// @param logprobs  (t, V)    @param ids  t of them, each in [0, V)
std::vector<TokenLogprobs> token_logprobs(const at::Tensor& logprobs, std::span<const int64_t> ids,
                                          int64_t top);

}  // namespace slice::detail
