#pragma once

#include "libslice/device.h"
#include "libslice/ops.h"

/// The device side of ops.h and device.h. Arguments were checked there. Without CUDA
/// (ops_no_cuda.cpp) these throw DeviceError.
namespace slice::ops::on_device {

/// @param weight  (k), what the result is multiplied by before its one rounding; undefined: ones
at::Tensor rms_norm(const at::Tensor& x, int64_t D, double eps, const at::Tensor& weight = {});
at::Tensor gram_workspace(const at::Tensor& C, at::ScalarType dtype);
void accumulate_gram(at::Tensor& C, const at::Tensor& z, const at::Tensor& workspace);
void mirror_lower(at::Tensor& C);
Eigen symmetric_eigen(const at::Tensor& C);

DeviceMemory memory(at::Device device);
int64_t peak_bytes(at::Device device);
/// Gives what LibTorch's allocator keeps for later back to the driver.
void release_cached_memory();

}  // namespace slice::ops::on_device
