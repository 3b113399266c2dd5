#pragma once

#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <cstddef>
#include <cstdint>

namespace slice::kernels {

/// A cuSOLVER handle of the device that was current at create(). Move-only; empty until created.
class CusolverHandle {
 public:
  CusolverHandle() = default;
  ~CusolverHandle();
  CusolverHandle(CusolverHandle&& other) noexcept;
  CusolverHandle& operator=(CusolverHandle&& other) noexcept;

  /// Costs some milliseconds and device memory; a second call keeps the first handle.
  cusolverStatus_t create();

  explicit operator bool() const { return handle_ != nullptr; }
  cusolverDnHandle_t get() const { return handle_; }
  cusolverDnParams_t params() const { return params_; }

 private:
  void destroy();

  cusolverDnHandle_t handle_ = nullptr;
  cusolverDnParams_t params_ = nullptr;
};

struct EigenWorkspace {
  size_t device_bytes = 0;
  size_t host_bytes = 0;
};

/// Workspace of symmetric_eigen for an (n, n) matrix. Starts nothing on the device.
cusolverStatus_t symmetric_eigen_workspace(EigenWorkspace* workspace, int64_t n,
                                           const CusolverHandle& handle);

/// All eigenvalues and eigenvectors of a symmetric matrix in float64 (cusolverDnXsyevd).
///
///   A = Vᵀ diag(values) V,   V Vᵀ = I,   values ascending
///
/// @param values    (n) float64, device.
/// @param A         (n, n) float64, row-major, device. In: symmetric, both triangles filled. Out:
///                  V, whose row j is the eigenvector of values[j], sign arbitrary.
/// @param info      one int, device: 0 if it converged. The caller reads it, after the stream.
/// @param device_workspace, host_workspace   of the sizes in `workspace`, which
///                  symmetric_eigen_workspace gave; the host's must outlive the work on the stream.
///
/// Runs on `stream`; cuSOLVER may wait for it. Cost: O(n³); H200: 26 ms at n = 2048, 540 at 8192.
cusolverStatus_t symmetric_eigen(double* values, double* A, int* info, int64_t n,
                                 void* device_workspace, void* host_workspace,
                                 const EigenWorkspace& workspace, const CusolverHandle& handle,
                                 cudaStream_t stream);

}  // namespace slice::kernels
