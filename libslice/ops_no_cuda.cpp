#include "libslice/detail/ops_cuda.h"
#include "libslice/error.h"

namespace slice::ops::on_device {
namespace {

[[noreturn]] void no_device() {
  throw DeviceError(
      "this libslice was built without CUDA: the tensor is on a device it cannot use");
}

}  // namespace

at::Tensor rms_norm(const at::Tensor&, int64_t, double) { no_device(); }
at::Tensor rotated_add(const at::Tensor&, const at::Tensor&, const at::Tensor&) { no_device(); }
void accumulate_gram(at::Tensor&, const at::Tensor&) { no_device(); }
void mirror_lower(at::Tensor&) { no_device(); }
Eigen symmetric_eigen(const at::Tensor&) { no_device(); }

}  // namespace slice::ops::on_device
