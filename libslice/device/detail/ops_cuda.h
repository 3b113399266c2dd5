#pragma once

#include <c10/core/Stream.h>

#include "libslice/device/device.h"
#include "libslice/device/ops.h"

/// The device side of ops.h and device.h, which check the arguments. Without CUDA (ops_no_cuda.cpp)
/// these throw DeviceError.
namespace slice::ops::on_device {

/// Whether this side is there: LibTorch's CUDA half may be in a process whose libslice has none.
bool built();

/// @param weight    (k), multiplies the result before its one rounding; undefined: ones
/// @param residual  (…, k), contiguous, added before it; with a weight; undefined: zeros
at::Tensor rms_norm(const at::Tensor& x, int64_t D, double eps, const at::Tensor& weight = {},
                    const at::Tensor& residual = {});
at::Tensor covariance_workspace(const at::Tensor& C, at::ScalarType dtype);
void accumulate_covariance(at::Tensor& C, const at::Tensor& z, const at::Tensor& workspace);
void mirror_lower(at::Tensor& C);
Eigen symmetric_eigen(const at::Tensor& C);

DeviceMemory memory(at::Device device);
int64_t peak_bytes(at::Device device);
/// Returns the memory that LibTorch's allocator caches to the driver.
void release_cached_memory();

/// Copies (n, T, k) between host and device on a stream, asynchronously where the host's memory is
/// locked. Both have strides (T·D, D, 1).
void copy_rows(const at::Tensor& to, const at::Tensor& from, c10::Stream stream);
/// Locks pages of the host for copies. @return  false where the driver refuses
bool lock_pages(void* data, int64_t bytes, at::Device device);
void unlock_pages(void* data);

}  // namespace slice::ops::on_device
