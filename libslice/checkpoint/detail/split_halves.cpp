#include "libslice/checkpoint/detail/split_halves.h"

#include <ATen/ATen.h>

namespace slice::detail {

using at::Tensor;

namespace {

/// Of each head the first r rows, seen as a matrix (a, b), transposed.
Tensor transpose_heads(const Tensor& rows, int64_t heads, int64_t turning, bool pairs) {
  const int64_t d = rows.size(0) / heads, r = turning == 0 ? d : turning;
  const Tensor all = rows.reshape({heads, d, -1});  // (h, d, in)
  const Tensor turned = all.slice(1, 0, r)
                            .reshape({heads, pairs ? r / 2 : 2, pairs ? 2 : r / 2, -1})
                            .transpose(1, 2)
                            .reshape({heads, r, -1});
  return at::cat({turned, all.slice(1, r)}, 1).reshape(rows.sizes());
}

}  // namespace

Tensor split_halves(const Tensor& rows, int64_t heads, int64_t turning) {
  return transpose_heads(rows, heads, turning, /*pairs=*/true);
}

Tensor interleave_halves(const Tensor& rows, int64_t heads, int64_t turning) {
  return transpose_heads(rows, heads, turning, /*pairs=*/false);
}

}  // namespace slice::detail
