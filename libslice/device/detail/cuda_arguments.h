#pragma once

#include <ATen/core/Tensor.h>
#include <cuda_runtime_api.h>

namespace slice::kernels {
enum class DataType;
}

/// What launchers take, from what LibTorch has.
namespace slice::ops::on_device {

/// @throws DtypeError  no kernel has elements of this type.
kernels::DataType data_type(at::ScalarType dtype);

/// LibTorch's, of the current device.
cudaStream_t current_stream();

/// nullptr for an undefined tensor.
inline const void* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}

}  // namespace slice::ops::on_device
