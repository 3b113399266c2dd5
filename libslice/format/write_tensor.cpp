#include "libslice/format/write_tensor.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/isinf.h>

#include <bit>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/format/detail/tensor_pieces.h"

namespace slice::detail {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied into files byte by byte");

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
