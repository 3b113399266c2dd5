#pragma once

#include <ATen/core/Tensor.h>
#include <cuda_runtime_api.h>

namespace slice::kernels {
enum class DataType;
}

/// Arguments of kernel launchers, from LibTorch's types.
namespace slice::ops::on_device {

/// The one translation of element types. @throws DtypeError  no kernel has elements of this type
kernels::DataType data_type(at::ScalarType dtype);

/// LibTorch's current stream of the current device.
cudaStream_t current_stream();

/// nullptr for an undefined tensor.
inline const void* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}

}  // namespace slice::ops::on_device
