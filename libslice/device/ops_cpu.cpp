#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/detail/ops_cuda.h"
#include "libslice/device/ops.h"

namespace slice::ops {
namespace {

using at::Tensor;
using detail::describe;

/// Columns of C updated together: wide enough for a full-speed GEMM, narrow enough that little
/// above the diagonal is computed.
constexpr int64_t kPanel = 192;

void check_square(const Tensor& C, const char* name) {
  SLICE_CHECK(C.dim() == 2 && C.size(0) == C.size(1), "{}: want a square matrix, got {}", name,
              describe(C));
  SLICE_CHECK_AS(DtypeError, C.scalar_type() == at::kDouble, "{}: want float64, got {}", name,
                 describe(C));
}

}  // namespace

Tensor rms_norm(const Tensor& x, int64_t D, double eps) {
  SLICE_CHECK(x.dim() >= 1 && D >= 1 && x.size(-1) <= D, "rms_norm: want (…, k ≤ {}), got {}", D,
              describe(x));
  SLICE_CHECK_AS(DtypeError, at::isFloatingType(x.scalar_type()),
                 "rms_norm: want floating point, got {}", describe(x));
  if (x.is_cuda() && !x.requires_grad()) return on_device::rms_norm(x, D, eps);
  const Tensor wide = x.to(at::toOpMathType(x.scalar_type()));
  const Tensor mean_square = wide.square().sum(-1, /*keepdim=*/true) / static_cast<double>(D);
  return (wide * (mean_square + eps).rsqrt()).to(x.scalar_type());
}

Tensor rotated_add(const Tensor& x, const Tensor& W, const Tensor& r) {
  SLICE_CHECK(W.dim() == 2 && x.dim() >= 1 && r.dim() == x.dim() && x.size(-1) == W.size(1) &&
                  r.size(-1) == W.size(0) &&
                  x.sizes().slice(0, x.dim() - 1) == r.sizes().slice(0, r.dim() - 1),
              "rotated_add: shapes do not fit: x {}, W {}, r {}", describe(x), describe(W),
              describe(r));
  SLICE_CHECK_AS(
      DtypeError, x.scalar_type() == W.scalar_type() && r.scalar_type() == W.scalar_type(),
      "rotated_add: want one dtype, got x {}, W {}, r {}", describe(x), describe(W), describe(r));
  // On a GPU too: cuBLAS beat our kernel at every shape (docs/results/kernels.csv).
  const Tensor y = at::addmm(r.reshape({-1, W.size(0)}), x.reshape({-1, W.size(1)}), W.t());
  return y.view(r.sizes());
}

Tensor covariance_workspace(const Tensor& C, at::ScalarType dtype) {
  if (C.is_cuda()) return on_device::covariance_workspace(C, dtype);
  return at::empty({0}, C.options().dtype(at::kByte));
}

void accumulate_covariance(Tensor& C, const Tensor& z, const Tensor& workspace) {
  check_square(C, "covariance");
  SLICE_CHECK(C.is_contiguous(), "covariance: want a contiguous matrix, got {}", describe(C));
  SLICE_CHECK(z.dim() == 2 && z.size(1) == C.size(0), "covariance: want rows of {}, got {}",
              C.size(0), describe(z));
  if (z.size(0) == 0) return;
  if (C.is_cuda()) {
    return on_device::accumulate_covariance(
        C, z, workspace.defined() ? workspace : covariance_workspace(C, z.scalar_type()));
  }
  const Tensor wide = z.to(at::kDouble);  // (n, D)
  const int64_t D = C.size(0);
  for (int64_t begin = 0; begin < D; begin += kPanel) {
    const int64_t end = std::min(begin + kPanel, D);
    Tensor panel = C.slice(0, begin).slice(
        1, begin, end);  // (D − begin, end − begin): on and below the diagonal
    panel.addmm_(wide.slice(1, begin).t(), wide.slice(1, begin, end));
  }
}

void mirror_lower(Tensor& C) {
  check_square(C, "covariance");
  if (C.is_cuda()) return on_device::mirror_lower(C);
  C.copy_(C.tril() + C.tril(-1).t());
}

Eigen symmetric_eigen(const Tensor& C) {
  check_square(C, "eigenproblem");
  if (C.is_cuda()) return on_device::symmetric_eigen(C);
  try {
    auto [values, vectors] = at::linalg_eigh(C, "L");
    return {values, vectors};
  } catch (const c10::Error& error) {
    if (detail::is_host_out_of_memory(error)) throw;
    throw NumericError(
        detail::formatted("eigenproblem {}: {}", describe(C), error.what_without_backtrace()));
  }
}

}  // namespace slice::ops
