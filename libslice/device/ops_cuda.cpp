// The device side of ops.h. Streams and handles are LibTorch's current ones (cuSOLVER's is ours);
// status codes become exceptions here.

#include "libslice/device/detail/ops_cuda.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "cuda/covariance.h"
#include "cuda/eigen.h"
#include "cuda/rms_norm.h"
#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/device/detail/memory.h"

namespace slice::ops::on_device {

using at::Tensor;

namespace {

void check(cublasStatus_t status, const char* call) {
  SLICE_CHECK_AS(CudaError, status == CUBLAS_STATUS_SUCCESS, "{}: {}", call,
                 cublasGetStatusString(status));
}

void check(cusolverStatus_t status, const char* call) {
  SLICE_CHECK_AS(CudaError, status == CUSOLVER_STATUS_SUCCESS, "{}: cuSOLVER status {}", call,
                 static_cast<int>(status));
}

/// (…, k) as (n, k) rows with unit column stride; a view where there is one.
Tensor as_rows(const Tensor& x) {
  const Tensor rows = x.reshape({-1, x.size(-1)});
  return rows.size(1) == 0 || rows.stride(1) == 1 ? rows : rows.contiguous();
}

/// A cuSOLVER handle of a device, of one call alone: a handle has one stream, and memory of its own
/// that its work uses. Made when every other one is in use, and kept for the next call. LibTorch's
/// own lives in a library that it loads late.
class Solver {
 public:
  explicit Solver(at::DeviceIndex device) : device_(device) {
    {
      const std::lock_guard lock(mutex_);
      if (auto& idle = idle_[device]; !idle.empty()) {
        handle_ = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (handle_ || handle_.create() == CUSOLVER_STATUS_SUCCESS) return;
    release_cached_memory();  // it allocates outside of LibTorch, which may hold all memory
    const cusolverStatus_t status = handle_.create();
    if (status == CUSOLVER_STATUS_SUCCESS) return;
    detail::throw_out_of_memory("cuSOLVER", at::Device(at::kCUDA, device),
                                detail::formatted("cusolverDnCreate gives status {}", int{status}));
  }
  Solver(const Solver&) = delete;
  /// Its work is done, or has failed.
  ~Solver() {
    const std::lock_guard lock(mutex_);
    try {
      idle_[device_].push_back(std::move(handle_));
    } catch (const std::bad_alloc&) {  // the handle is destroyed instead
    }
  }

  const kernels::CusolverHandle& handle() const { return handle_; }

 private:
  static inline std::mutex mutex_;
  static inline std::map<at::DeviceIndex, std::vector<kernels::CusolverHandle>> idle_;
  at::DeviceIndex device_;
  kernels::CusolverHandle handle_;
};

}  // namespace

kernels::DataType data_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return kernels::DataType::kFloat16;
    case at::kBFloat16:
      return kernels::DataType::kBFloat16;
    case at::kFloat:
      return kernels::DataType::kFloat32;
    case at::kDouble:
      return kernels::DataType::kFloat64;
    default:
      throw DtypeError("no kernel for " + detail::dtype_name(dtype));
  }
}

cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

Tensor rms_norm(const Tensor& x, int64_t D, double eps, const Tensor& weight,
                const Tensor& residual) {
  const c10::cuda::CUDAGuard guard(x.device());
  const Tensor rows = as_rows(x);                // (n, k)
  Tensor y = at::empty(x.sizes(), x.options());  // (…, k)
  check(kernels::rms_norm(y.mutable_data_ptr(), rows.const_data_ptr(), pointer(weight),
                          pointer(residual), data_type(x.scalar_type()), rows.size(0), rows.size(1),
                          rows.stride(0), D, eps, current_stream()),
        "rms_norm");
  return y;
}

static_assert(kCovarianceBlock == kernels::kCovarianceBlockTokens);

Tensor covariance_workspace(const Tensor& C, at::ScalarType dtype) {
  const size_t bytes = kernels::covariance_workspace_bytes(data_type(dtype), C.size(0));
  return at::empty({static_cast<int64_t>(bytes)}, C.options().dtype(at::kByte));
}

void accumulate_covariance(Tensor& C, const Tensor& z, const Tensor& workspace) {
  const c10::cuda::CUDAGuard guard(C.device());
  const Tensor rows = as_rows(z);  // (n, D)
  check(kernels::accumulate_covariance(
            C.mutable_data_ptr<double>(), rows.const_data_ptr(), data_type(z.scalar_type()),
            /*first_token=*/0, rows.size(0), rows.size(1), rows.stride(0),
            workspace.mutable_data_ptr(), workspace.nbytes(), at::cuda::getCurrentCUDABlasHandle()),
        "accumulate_covariance");
}

void mirror_lower(Tensor& C) {
  const c10::cuda::CUDAGuard guard(C.device());
  check(kernels::mirror_covariance(C.mutable_data_ptr<double>(), C.size(0), current_stream()),
        "mirror_covariance");
}

Eigen symmetric_eigen(const Tensor& C) {
  const c10::cuda::CUDAGuard guard(C.device());
  const Solver solver(C.device().index());
  const int64_t n = C.size(0);
  Tensor rows =
      C.clone(at::MemoryFormat::Contiguous);  // (n, n): becomes the eigenvectors, a row each
  mirror_lower(rows);
  Tensor values = at::empty({n}, C.options());
  Tensor info = at::zeros({1}, C.options().dtype(at::kInt));
  kernels::EigenWorkspace sizes;
  check(kernels::symmetric_eigen_workspace(&sizes, n, solver.handle()),
        "cusolverDnXsyevd_bufferSize");
  const Tensor workspace =
      at::empty({static_cast<int64_t>(sizes.device_bytes)}, C.options().dtype(at::kByte));
  std::vector<std::byte> host(sizes.host_bytes);
  check(kernels::symmetric_eigen(values.mutable_data_ptr<double>(), rows.mutable_data_ptr<double>(),
                                 info.mutable_data_ptr<int>(), n, workspace.mutable_data_ptr(),
                                 host.data(), sizes, solver.handle(), current_stream()),
        "cusolverDnXsyevd");
  const int failed = info.item<int>();  // waits for the stream
  SLICE_CHECK_AS(NumericError, failed == 0, "eigenproblem {}: cuSOLVER did not converge (info {})",
                 detail::describe(C), failed);
  return {values, rows.t()};
}

}  // namespace slice::ops::on_device
