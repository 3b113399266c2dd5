#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "benchmarks/bench.h"

namespace slice::bench {

/// What this card does at best, measured now: the floors of a run are work over these.
struct Ceilings {
  double read_gbs = 0;     // one pass that only reads
  double copy_gbs = 0;     // device to device, bytes read plus bytes written
  double bf16_tflops = 0;  // 8192³, float32 sums
  double fp32_tflops = 0;  // 4096³, no TF32
  double fp64_tflops = 0;  // 4096³
};

/// One pass that only reads, 2 GiB, GB/s.
double measure_read_gbs(Timer& timer, cudaStream_t stream);
/// A float16 product of 8192³, float32 sums, TFLOP/s.
double measure_half_tflops(Timer& timer, cublasHandle_t cublas, cudaStream_t stream);

Ceilings measure_ceilings(Timer& timer, cublasHandle_t cublas, cudaStream_t stream);

}  // namespace slice::bench
