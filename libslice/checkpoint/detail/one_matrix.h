#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "libslice/checkpoint/checkpoint.h"

namespace slice::detail {

/// A matrix of a checkpoint, read some rows at a time.
struct StoredMatrix {
  Checkpoint::Entry entry;
  std::function<at::Tensor(int64_t begin, int64_t end)> rows;
};

/// Whether two stored matrices may come from one: whether, everywhere, there is a value that both
/// stored ones can stand for. Matrices of one unquantised dtype have to be equal. What a value
/// stands for:
///
///   unquantised  everything that rounds to it in its dtype
///   quantised    everything within the spacing of its neighbours' values, half of it for rounding
///                and half for a scale that is itself rounded or fitted; the largest and the
///                smallest of its neighbours stand for everything beyond too, which was clipped
///
/// Neighbours are 16 values along a row, the fewest that share a scale in any of ggml's formats;
/// the smallest difference between two of them is at least the spacing. Rows are read in pieces:
/// a few tens of MB. Cost: one pass over both, ended by the first piece that differs.
bool may_be_one(const StoredMatrix& a, const StoredMatrix& b);

}  // namespace slice::detail
