#pragma once

#include <cstdint>
#include <vector>

#include "libslice/method/plan.h"
#include "libslice/model/config.h"

namespace slice::detail {

// What the sizes of a searched plan are multiples of, so that they fit the hardware and the files:
// kernels copy 16 bytes at a time, quantised types of llama.cpp have blocks of 32 weights in a row,
// its K types of 256. `round` of the options takes their place where it is given.

/// Of a kept size: 32, less where the model has fewer than 256 coordinates. A stock LLaMA with
/// biases wants whole heads: the least common multiple of 8 and their number.
/// @param stock  whether every site is sliced, without shortcuts and with a head of its own
int64_t kept_unit(const ModelConfig& dense, const SliceOptions& options, bool stock);

/// Of the FFN width of every layer, in the order of preference: 256 from 4096 channels on, and 32,
/// less in layers of fewer than 1024 channels, of which a step of 32 is more than a budget can miss.
std::vector<std::vector<int64_t>> channel_units(const ModelConfig& dense,
                                                const SliceOptions& options);

}  // namespace slice::detail
