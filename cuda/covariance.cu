#include "cuda/covariance.h"

#include <algorithm>
#include <climits>

#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"

// accumulate_covariance:   C += zᵀ z on and below the diagonal, block of 4096 tokens by block
//   z (tokens, d) strided rows   C (d, d) float64
// panels  columns [p, p + 1024) with rows [p, d), one GEMM each: d²/2 · (1 + 1024/d) of d² entries;
//         float32 sums of a panel (d · 4 KiB) stay in the L2 until they are added to C
// numerics  half types: exact products, float32 sums of 4096, float64 master
//         float32: widened first, float64 throughout
// work    tokens·d² flop; what is on and below C's diagonal is read and written once a block

namespace slice::kernels {
namespace {

constexpr int64_t kPanelColumns = 1024;
constexpr int kThreads = 256;
constexpr int kMirrorTile = 32;
constexpr int kMirrorRows = 8;
constexpr int64_t kMaxGridY = 65535;

// The modes that the caller left on the handle must not change a sum; they are put back afterwards.
class CublasModes {
 public:
  explicit CublasModes(cublasHandle_t handle) : handle_(handle) {
    status_ = cublasGetMathMode(handle_, &math_);
    if (status_ != CUBLAS_STATUS_SUCCESS) return;
    status_ = cublasGetPointerMode(handle_, &pointer_);
    if (status_ != CUBLAS_STATUS_SUCCESS) return;
    saved_ = true;
    status_ = cublasSetMathMode(
        handle_, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                           CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
    if (status_ != CUBLAS_STATUS_SUCCESS) return;
    status_ = cublasSetPointerMode(handle_, CUBLAS_POINTER_MODE_HOST);
  }
  ~CublasModes() {
    if (!saved_) return;
    cublasSetMathMode(handle_, math_);
    cublasSetPointerMode(handle_, pointer_);
  }
  CublasModes(const CublasModes&) = delete;
  CublasModes& operator=(const CublasModes&) = delete;

  cublasStatus_t status() const { return status_; }

 private:
  cublasHandle_t handle_;
  cublasMath_t math_ = CUBLAS_DEFAULT_MATH;
  cublasPointerMode_t pointer_ = CUBLAS_POINTER_MODE_HOST;
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
  bool saved_ = false;
};

cublasStatus_t launch_status() {
  return cudaPeekAtLastError() == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                              : CUBLAS_STATUS_EXECUTION_FAILED;
}

// wide (tokens, d) contiguous ← z (tokens, d) strided; one block of threads a row
__global__ void __launch_bounds__(kThreads)
    widen_kernel(double* wide, const float* z, int64_t d, int64_t row_stride) {
  const float* source = z + blockIdx.x * row_stride;
  double* target = wide + blockIdx.x * d;
  for (int64_t i = threadIdx.x; i < d; i += kThreads) target[i] = source[i];
}

// C, sums point at the panel's diagonal entry; row r of the panel has min(columns, r + 1) entries
// on or below the diagonal; one block of threads a row
__global__ void __launch_bounds__(kThreads)
    add_panel_kernel(double* C, const float* sums, int64_t d, int64_t columns) {
  const int64_t row = blockIdx.x;
  const int64_t end = row + 1 < columns ? row + 1 : columns;
  double* target = C + row * d;
  const float* source = sums + row * kPanelColumns;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < end; i += kThreads) target[i] += source[i];
}

__global__ void __launch_bounds__(kMirrorTile* kMirrorRows) mirror_kernel(double* C, int64_t d) {
  if (blockIdx.y < blockIdx.x) return;  // tiles (y, x) on or below the diagonal
  __shared__ double tile[kMirrorTile][kMirrorTile + 1];
  const int64_t top = int64_t{blockIdx.y} * kMirrorTile;
  const int64_t left = int64_t{blockIdx.x} * kMirrorTile;
  for (int i = threadIdx.y; i < kMirrorTile; i += kMirrorRows) {
    const int64_t row = top + i;
    const int64_t column = left + threadIdx.x;
    if (row < d && column < row) tile[i][threadIdx.x] = C[row * d + column];
  }
  __syncthreads();
  for (int i = threadIdx.y; i < kMirrorTile; i += kMirrorRows) {
    const int64_t row = left + i;
    const int64_t column = top + threadIdx.x;
    if (column < d && row < column) C[row * d + column] = tile[threadIdx.x][i];
  }
}

// Row-major out = aᵀ b is, to column-major cuBLAS, out = b aᵀ of the same bytes: columns of the
// panel first.
cublasStatus_t panel_product(void* out, cudaDataType out_type, int64_t out_stride, const void* z,
                             cudaDataType z_type, int64_t z_stride, int64_t tokens, int64_t columns,
                             int64_t rows, const void* one, const void* beta,
                             cublasComputeType_t compute, cublasHandle_t handle) {
  return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_T, static_cast<int>(columns),
                      static_cast<int>(rows), static_cast<int>(tokens), one, z, z_type,
                      static_cast<int>(z_stride), z, z_type, static_cast<int>(z_stride), beta, out,
                      out_type, static_cast<int>(out_stride), compute, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t add_block(double* C, const double* z, int64_t tokens, int64_t d, int64_t z_stride,
                         cublasHandle_t handle) {
  const double one = 1;
  for (int64_t p = 0; p < d; p += kPanelColumns) {
    const cublasStatus_t status = panel_product(C + p * d + p, CUDA_R_64F, d, z + p, CUDA_R_64F,
                                                z_stride, tokens, std::min(kPanelColumns, d - p),
                                                d - p, &one, &one, CUBLAS_COMPUTE_64F, handle);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t add_block(double* C, const float* z, int64_t tokens, int64_t d, int64_t z_stride,
                         double* wide, cudaStream_t stream, cublasHandle_t handle) {
  widen_kernel<<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(wide, z, d, z_stride);
  const cublasStatus_t status = launch_status();
  return status == CUBLAS_STATUS_SUCCESS ? add_block(C, wide, tokens, d, d, handle) : status;
}

cublasStatus_t add_block(double* C, const void* z, DataType type, int64_t tokens, int64_t d,
                         int64_t z_stride, float* sums, cudaStream_t stream,
                         cublasHandle_t handle) {
  const cudaDataType z_type = type == DataType::kFloat16 ? CUDA_R_16F : CUDA_R_16BF;
  const float one = 1;
  const float zero = 0;
  for (int64_t p = 0; p < d; p += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, d - p);
    const void* panel = static_cast<const char*>(z) + p * size_of(type);
    cublasStatus_t status =
        panel_product(sums, CUDA_R_32F, kPanelColumns, panel, z_type, z_stride, tokens, columns,
                      d - p, &one, &zero, CUBLAS_COMPUTE_32F, handle);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    add_panel_kernel<<<static_cast<unsigned>(d - p), kThreads, 0, stream>>>(C + p * d + p, sums, d,
                                                                            columns);
    status = launch_status();
    if (status != CUBLAS_STATUS_SUCCESS) return status;
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

size_t covariance_workspace_bytes(DataType type, int64_t d) {
  const auto columns = static_cast<size_t>(std::max<int64_t>(d, 0));
  switch (type) {
    case DataType::kFloat64:
      return 0;
    case DataType::kFloat32:
      return columns * kCovarianceBlockTokens * sizeof(double);
    default:
      return columns * kPanelColumns * sizeof(float);
  }
}

cublasStatus_t accumulate_covariance(double* C, const void* z, DataType type, int64_t first_token,
                                     int64_t tokens, int64_t d, int64_t row_stride, void* workspace,
                                     size_t workspace_bytes, cublasHandle_t handle) {
  if (first_token < 0 || first_token % kCovarianceBlockTokens != 0 || tokens < 0 || d < 0 ||
      row_stride < d || row_stride > INT_MAX) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (tokens == 0 || d == 0) return CUBLAS_STATUS_SUCCESS;
  const size_t needed = covariance_workspace_bytes(type, d);
  if (C == nullptr || z == nullptr || !detail::is_aligned(C, sizeof(double)) ||
      !detail::is_aligned(z, size_of(type)) || workspace_bytes < needed ||
      (needed > 0 && (workspace == nullptr || !detail::is_aligned(workspace, 16)))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }

  const CublasModes modes(handle);
  cublasStatus_t status = modes.status();
  cudaStream_t stream = nullptr;
  if (status == CUBLAS_STATUS_SUCCESS) status = cublasGetStream(handle, &stream);

  for (int64_t t = 0; t < tokens && status == CUBLAS_STATUS_SUCCESS; t += kCovarianceBlockTokens) {
    const int64_t count = std::min(kCovarianceBlockTokens, tokens - t);
    const void* block = static_cast<const char*>(z) + t * row_stride * size_of(type);
    if (type == DataType::kFloat64) {
      status = add_block(C, static_cast<const double*>(block), count, d, row_stride, handle);
    } else if (type == DataType::kFloat32) {
      status = add_block(C, static_cast<const float*>(block), count, d, row_stride,
                         static_cast<double*>(workspace), stream, handle);
    } else {
      status = add_block(C, block, type, count, d, row_stride, static_cast<float*>(workspace),
                         stream, handle);
    }
  }
  return status;
}

cudaError_t mirror_covariance(double* C, int64_t d, cudaStream_t stream) {
  const int64_t tiles = detail::ceil_div(d, kMirrorTile);
  if (d < 0 || tiles > kMaxGridY) return cudaErrorInvalidValue;
  if (d == 0) return cudaSuccess;
  if (C == nullptr || !detail::is_aligned(C, sizeof(double))) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(tiles));
  mirror_kernel<<<grid, dim3(kMirrorTile, kMirrorRows), 0, stream>>>(C, d);
  return cudaPeekAtLastError();
}

}  // namespace slice::kernels
