#include "libslice/checkpoint/detail/one_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>

namespace slice::detail {

using at::Tensor;

namespace {

constexpr int64_t kPiece = int64_t{1} << 22;  // values read at a time: 16 MB of float32
constexpr int64_t kNeighbours = 16;
constexpr float kFar = std::numeric_limits<float>::infinity();

/// What each of some neighbouring values may stand for.
struct Intervals {
  std::array<float, kNeighbours> low, high;
};

/// The largest relative error of rounding to an unquantised dtype.
float rounding(at::ScalarType dtype) {
  if (dtype == at::kHalf) return 0x1p-11f;
  return dtype == at::kBFloat16 ? 0x1p-8f : 0x1p-24f;
}

/// The smallest difference of two of n values that differ; infinite where none do.
float spacing(const float* values, int64_t n) {
  float least = kFar;
  for (int64_t i = 1; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      const float difference = std::abs(values[i] - values[j]);
      least = std::min(least, difference > 0 ? difference : kFar);
    }
  }
  return least;
}

Intervals intervals(const float* values, int64_t n, const Checkpoint::Entry& entry) {
  constexpr float kHalfStep = 0x1p-25f;    // half of float16's smallest step
  constexpr float kArithmetic = 0x1p-10f;  // scales and least values are float16 numbers
  const float step = entry.quantised ? spacing(values, n) : 0;
  const float relative = entry.quantised ? kArithmetic : rounding(entry.dtype);
  const auto [smallest, largest] = std::minmax_element(values, values + n);
  Intervals result;
  for (int64_t i = 0; i < n; ++i) {
    const float slack = step + relative * std::abs(values[i]) + kHalfStep;
    const bool least = entry.quantised && values[i] == *smallest;
    const bool most = entry.quantised && values[i] == *largest;
    result.low[i] = least ? -kFar : values[i] - slack;
    result.high[i] = most ? kFar : values[i] + slack;
  }
  return result;
}

/// Whether n neighbouring values of both may stand for the same numbers.
bool agree(const float* a, const float* b, int64_t n, const Checkpoint::Entry& of_a,
           const Checkpoint::Entry& of_b) {
  if (std::equal(a, a + n, b)) return true;
  const Intervals x = intervals(a, n, of_a), y = intervals(b, n, of_b);
  for (int64_t i = 0; i < n; ++i) {
    if (std::max(x.low[i], y.low[i]) > std::min(x.high[i], y.high[i])) return false;
  }
  return true;
}

bool rows_agree(const Tensor& a, const Tensor& b, const Checkpoint::Entry& of_a,
                const Checkpoint::Entry& of_b) {
  const int64_t columns = a.size(1);
  const float *first = a.const_data_ptr<float>(), *second = b.const_data_ptr<float>();
  std::atomic<bool> all = true;
  at::parallel_for(0, a.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * columns; at < end * columns && all; at += kNeighbours) {
      const int64_t left = columns - at % columns;
      const int64_t n = std::min(left, kNeighbours);
      if (!agree(first + at, second + at, n, of_a, of_b)) all = false;
      at -= kNeighbours - n;  // the next row begins anew
    }
  });
  return all;
}

}  // namespace

bool may_be_one(const StoredMatrix& a, const StoredMatrix& b) {
  if (a.entry.shape != b.entry.shape || a.entry.shape.size() != 2) return false;
  const bool exact = !a.entry.quantised && !b.entry.quantised && a.entry.dtype == b.entry.dtype;
  const int64_t rows = a.entry.shape[0], columns = a.entry.shape[1];
  const int64_t step = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, columns));
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t end = std::min(rows, begin + step);
    const Tensor x = a.rows(begin, end), y = b.rows(begin, end);  // (end − begin, columns)
    const bool same =
        exact ? at::equal(x, y) : rows_agree(x.to(at::kFloat), y.to(at::kFloat), a.entry, b.entry);
    if (!same) return false;
  }
  return true;
}

}  // namespace slice::detail
