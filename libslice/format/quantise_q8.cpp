#include "libslice/format/quantise_q8.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Half.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/format/detail/tensor_pieces.h"

namespace slice::detail {
namespace {

struct Q8Block {
  c10::Half scale;
  int8_t values[kQ8Block];
};
static_assert(sizeof(Q8Block) == kQ8BlockBytes);

/// @return  whether numbers and scale are finite
bool quantise(const float* x, Q8Block& block) {
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < kQ8Block; ++i) {
    most = std::max(most, std::abs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  const float scale = most / 127.0f;
  block.scale = c10::Half(scale);
  if (!finite || !std::isfinite(static_cast<float>(block.scale))) return false;
  const float inverse = scale == 0 ? 0.0f : 1.0f / scale;
  for (int64_t i = 0; i < kQ8Block; ++i)
    block.values[i] = static_cast<int8_t>(std::round(x[i] * inverse));
  return true;
}

}  // namespace

void write_q8(OutputFile& out, const at::Tensor& tensor, const std::string& where) {
  SLICE_CHECK(tensor.dim() >= 1 && tensor.size(-1) % kQ8Block == 0,
              "{}: rows of Q8_0 are multiples of 32, got {}", where,
              tensor.dim() < 1 ? 1 : tensor.size(-1));
  std::vector<Q8Block> blocks;
  for_each_piece(tensor.detach(), [&](const at::Tensor& from) {
    const at::Tensor piece = from.to(at::kFloat).cpu().contiguous();
    const float* x = piece.const_data_ptr<float>();
    blocks.resize(static_cast<size_t>(piece.numel() / kQ8Block));
    std::atomic<bool> finite = true;
    at::parallel_for(0, std::ssize(blocks), 1024, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        if (!quantise(x + b * kQ8Block, blocks[b])) finite = false;
    });
    SLICE_CHECK_AS(NumericError, finite, "{} has a number that Q8_0 has not", where);
    out.write(blocks.data(), blocks.size() * sizeof(Q8Block));
  });
}

}  // namespace slice::detail
