#include "benchmarks/ceilings.h"

#include "benchmarks/device.h"
#include "benchmarks/passes.h"
#include "cuda/data_type.h"

namespace slice::bench {
namespace {

using kernels::DataType;

constexpr int64_t kBytes = int64_t{2} << 30;

double gemm_tflops(Timer& timer, cublasHandle_t cublas, cudaStream_t stream, DataType type,
                   cudaDataType in, cudaDataType out, cublasComputeType_t compute, int size) {
  const int64_t count = int64_t{size} * size;
  const DeviceBuffer a(count * kernels::size_of(type));
  const DeviceBuffer b(count * kernels::size_of(type));
  const DeviceBuffer c(count * kernels::size_of(type));
  check_cuda(fill_uniform(a.data(), type, count, 1, stream), "fill");
  check_cuda(fill_uniform(b.data(), type, count, 2, stream), "fill");
  const double one_d = 1, zero_d = 0;
  const float one_f = 1, zero_f = 0;
  const bool wide = compute == CUBLAS_COMPUTE_64F;
  const void* one = wide ? static_cast<const void*>(&one_d) : &one_f;
  const void* zero = wide ? static_cast<const void*>(&zero_d) : &zero_f;
  const Timing timing = timer.hot([&] {
    return cublasGemmEx(cublas, CUBLAS_OP_T, CUBLAS_OP_N, size, size, size, one, a.data(), in, size,
                        b.data(), in, size, zero, c.data(), out, size, compute,
                        CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS;
  });
  return 2.0 * size * size * size / timing.median_us * 1e-6;
}

}  // namespace

double measure_read_gbs(Timer& timer, cudaStream_t stream) {
  const DeviceBuffer from(kBytes);
  const DeviceBuffer sink(4);
  check_cuda(fill_uniform(from.data(), DataType::kFloat32, kBytes / 4, 3, stream), "fill");
  const Timing read =
      timer.hot([&] { return read_pass(sink.data(), from.data(), kBytes, stream) == cudaSuccess; });
  return static_cast<double>(kBytes) / read.median_us * 1e-3;
}

double measure_half_tflops(Timer& timer, cublasHandle_t cublas, cudaStream_t stream) {
  return gemm_tflops(timer, cublas, stream, DataType::kFloat16, CUDA_R_16F, CUDA_R_16F,
                     CUBLAS_COMPUTE_32F, 8192);
}

Ceilings measure_ceilings(Timer& timer, cublasHandle_t cublas, cudaStream_t stream) {
  Ceilings ceilings;
  ceilings.read_gbs = measure_read_gbs(timer, stream);
  {
    const DeviceBuffer from(kBytes);
    const DeviceBuffer to(kBytes);
    check_cuda(fill_uniform(from.data(), DataType::kFloat32, kBytes / 4, 3, stream), "fill");
    const Timing copy = timer.hot([&] {
      return cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream) ==
             cudaSuccess;
    });
    ceilings.copy_gbs = 2.0 * static_cast<double>(kBytes) / copy.median_us * 1e-3;
  }
  ceilings.bf16_tflops = gemm_tflops(timer, cublas, stream, DataType::kBFloat16, CUDA_R_16BF,
                                     CUDA_R_16BF, CUBLAS_COMPUTE_32F, 8192);
  ceilings.fp32_tflops = gemm_tflops(timer, cublas, stream, DataType::kFloat32, CUDA_R_32F,
                                     CUDA_R_32F, CUBLAS_COMPUTE_32F, 4096);
  ceilings.fp64_tflops = gemm_tflops(timer, cublas, stream, DataType::kFloat64, CUDA_R_64F,
                                     CUDA_R_64F, CUBLAS_COMPUTE_64F, 4096);
  return ceilings;
}

}  // namespace slice::bench
