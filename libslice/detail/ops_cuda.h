#pragma once

#include "libslice/ops.h"

/// The device side of ops.h. Arguments were checked there. Without CUDA (ops_no_cuda.cpp) these
/// throw DeviceError.
namespace slice::ops::on_device {

at::Tensor rms_norm(const at::Tensor& x, int64_t D, double eps);
at::Tensor rotated_add(const at::Tensor& x, const at::Tensor& W, const at::Tensor& r);
void accumulate_gram(at::Tensor& C, const at::Tensor& z);
void mirror_lower(at::Tensor& C);
Eigen symmetric_eigen(const at::Tensor& C);

}  // namespace slice::ops::on_device
