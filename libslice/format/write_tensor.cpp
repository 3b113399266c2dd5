#include "libslice/format/write_tensor.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/isinf.h>

#include <algorithm>
#include <bit>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice::detail {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied into files byte by byte");

constexpr int64_t kPieceElements = int64_t{2} << 20;  // converted at a time: at most 16 MB

/// Calls `use` with views of at most kPieceElements, in row-major order, whatever the strides.
template <typename Use>
void for_each_piece(const at::Tensor& tensor, const Use& use) {
  if (tensor.numel() <= kPieceElements) return use(tensor);
  const int64_t length = tensor.size(0);
  if (length == 1) return for_each_piece(tensor[0], use);
  const int64_t step = std::max<int64_t>(1, kPieceElements / (tensor.numel() / length));
  for (int64_t begin = 0; begin < length; begin += step) {
    for_each_piece(tensor.slice(0, begin, std::min(begin + step, length)), use);
  }
}

}  // namespace

void write_tensor(OutputFile& out, const at::Tensor& tensor, at::ScalarType dtype,
                  const std::string& where) {
  const bool converts = tensor.scalar_type() != dtype;
  for_each_piece(tensor.detach(), [&](const at::Tensor& from) {
    const at::Tensor piece = from.to(dtype);
    if (converts) {
      const at::Tensor overflow = at::isinf(piece).logical_and(at::isinf(from).logical_not());
      SLICE_CHECK_AS(NumericError, !overflow.any().item<bool>(), "{} overflows {}", where,
                     dtype_name(dtype));
    }
    const at::Tensor bytes = piece.cpu().contiguous();
    out.write(bytes.const_data_ptr(), bytes.nbytes());
  });
}

}  // namespace slice::detail
