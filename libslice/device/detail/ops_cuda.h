#pragma once

#include <c10/core/Stream.h>

#include "libslice/device/device.h"
#include "libslice/device/ops.h"

/// The device side of ops.h and device.h. Arguments were checked there. Without CUDA
/// (ops_no_cuda.cpp) these throw DeviceError.
namespace slice::ops::on_device {

/// @param weight  (k), what the result is multiplied by before its one rounding; undefined: ones
at::Tensor rms_norm(const at::Tensor& x, int64_t D, double eps, const at::Tensor& weight = {});
at::Tensor covariance_workspace(const at::Tensor& C, at::ScalarType dtype);
void accumulate_covariance(at::Tensor& C, const at::Tensor& z, const at::Tensor& workspace);
void mirror_lower(at::Tensor& C);
Eigen symmetric_eigen(const at::Tensor& C);

DeviceMemory memory(at::Device device);
int64_t peak_bytes(at::Device device);
/// Gives what LibTorch's allocator keeps for later back to the driver.
void release_cached_memory();

/// Copies (n, T, k) between host and device on a stream, without waiting where the host's memory is
/// locked; both have strides (T·D, D, 1).
void copy_rows(const at::Tensor& to, const at::Tensor& from, c10::Stream stream);
/// Locks pages of the host for copies. @return  whether the driver did
bool lock_pages(void* data, int64_t bytes, at::Device device);
void unlock_pages(void* data);

}  // namespace slice::ops::on_device
