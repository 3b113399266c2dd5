#include "libslice/base/error.h"
#include "libslice/device/detail/ops_cuda.h"

namespace slice::ops::on_device {
namespace {

[[noreturn]] void no_device() {
  throw DeviceError(
      "this libslice was built without CUDA: the tensor is on a device it cannot use");
}

}  // namespace

bool built() { return false; }

at::Tensor rms_norm(const at::Tensor&, int64_t, double, const at::Tensor&, const at::Tensor&) {
  no_device();
}
at::Tensor covariance_workspace(const at::Tensor&, at::ScalarType) { no_device(); }
void accumulate_covariance(at::Tensor&, const at::Tensor&, const at::Tensor&) { no_device(); }
void mirror_lower(at::Tensor&) { no_device(); }
Eigen symmetric_eigen(const at::Tensor&) { no_device(); }
DeviceMemory memory(at::Device) { no_device(); }
int64_t peak_bytes(at::Device) { no_device(); }
void release_cached_memory() {}
void copy_rows(const at::Tensor&, const at::Tensor&, c10::Stream) { no_device(); }
bool lock_pages(void*, int64_t, at::Device) { no_device(); }
void unlock_pages(void*) {}

}  // namespace slice::ops::on_device
