#include "cuda/eigen.h"

#include <utility>

namespace slice::kernels {
namespace {

// To cuSOLVER's column-major eyes the row-major upper triangle; both are filled, and lower is its
// well-trodden path.
constexpr cublasFillMode_t kTriangle = CUBLAS_FILL_MODE_LOWER;

}  // namespace

CusolverHandle::~CusolverHandle() { destroy(); }

CusolverHandle::CusolverHandle(CusolverHandle&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      params_(std::exchange(other.params_, nullptr)) {}

CusolverHandle& CusolverHandle::operator=(CusolverHandle&& other) noexcept {
  if (this != &other) {
    destroy();
    handle_ = std::exchange(other.handle_, nullptr);
    params_ = std::exchange(other.params_, nullptr);
  }
  return *this;
}

cusolverStatus_t CusolverHandle::create() {
  if (handle_ != nullptr) return CUSOLVER_STATUS_SUCCESS;
  cusolverStatus_t status = cusolverDnCreate(&handle_);
  if (status == CUSOLVER_STATUS_SUCCESS) status = cusolverDnCreateParams(&params_);
  if (status != CUSOLVER_STATUS_SUCCESS) destroy();
  return status;
}

void CusolverHandle::destroy() {
  if (params_ != nullptr) cusolverDnDestroyParams(params_);
  if (handle_ != nullptr) cusolverDnDestroy(handle_);
  params_ = nullptr;
  handle_ = nullptr;
}

cusolverStatus_t symmetric_eigen_workspace(EigenWorkspace* workspace, int64_t n,
                                           const CusolverHandle& handle) {
  if (workspace == nullptr || n < 0) return CUSOLVER_STATUS_INVALID_VALUE;
  *workspace = EigenWorkspace{};
  if (n == 0) return CUSOLVER_STATUS_SUCCESS;
  if (!handle) return CUSOLVER_STATUS_NOT_INITIALIZED;
  return cusolverDnXsyevd_bufferSize(handle.get(), handle.params(), CUSOLVER_EIG_MODE_VECTOR,
                                     kTriangle, n, CUDA_R_64F, nullptr, n, CUDA_R_64F, nullptr,
                                     CUDA_R_64F, &workspace->device_bytes, &workspace->host_bytes);
}

cusolverStatus_t symmetric_eigen(double* values, double* A, int* info, int64_t n,
                                 void* device_workspace, void* host_workspace,
                                 const EigenWorkspace& workspace, const CusolverHandle& handle,
                                 cudaStream_t stream) {
  if (n < 0 || info == nullptr) return CUSOLVER_STATUS_INVALID_VALUE;
  if (n == 0) {
    return cudaMemsetAsync(info, 0, sizeof(int), stream) == cudaSuccess
               ? CUSOLVER_STATUS_SUCCESS
               : CUSOLVER_STATUS_EXECUTION_FAILED;
  }
  if (values == nullptr || A == nullptr ||
      (device_workspace == nullptr && workspace.device_bytes > 0) ||
      (host_workspace == nullptr && workspace.host_bytes > 0)) {
    return CUSOLVER_STATUS_INVALID_VALUE;
  }
  if (!handle) return CUSOLVER_STATUS_NOT_INITIALIZED;
  const cusolverStatus_t status = cusolverDnSetStream(handle.get(), stream);
  if (status != CUSOLVER_STATUS_SUCCESS) return status;
  return cusolverDnXsyevd(handle.get(), handle.params(), CUSOLVER_EIG_MODE_VECTOR, kTriangle, n,
                          CUDA_R_64F, A, n, CUDA_R_64F, values, CUDA_R_64F, device_workspace,
                          workspace.device_bytes, host_workspace, workspace.host_bytes, info);
}

}  // namespace slice::kernels
