#pragma once

#include <memory>

#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/detail/row_decoding.h"

namespace slice::detail {

class DividedDevices;

/// Captured decoding of a batch in step by all ranks, whose logits are the first one's.
/// @param devices  must outlive it
/// @param cache    the first rank's, which counts positions for all; must outlive it
std::unique_ptr<Decoding> make_divided_decoding(DividedDevices& devices, KvCache& cache);

/// The same for rows that are texts of their own, with caches of its own.
std::unique_ptr<RowDecoding> make_divided_rows(DividedDevices& devices, int64_t rows,
                                               int64_t capacity);

}  // namespace slice::detail
