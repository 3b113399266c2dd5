#include "libslice/detail/decode_plan.h"
#include "libslice/detail/ops_cuda.h"
#include "libslice/detail/prefill.h"
#include "libslice/error.h"

namespace slice::ops::on_device {
namespace {

[[noreturn]] void no_device() {
  throw DeviceError(
      "this libslice was built without CUDA: the tensor is on a device it cannot use");
}

}  // namespace

at::Tensor rms_norm(const at::Tensor&, int64_t, double, const at::Tensor&) { no_device(); }
at::Tensor gram_workspace(const at::Tensor&, at::ScalarType) { no_device(); }
void accumulate_gram(at::Tensor&, const at::Tensor&, const at::Tensor&) { no_device(); }
void mirror_lower(at::Tensor&) { no_device(); }
Eigen symmetric_eigen(const at::Tensor&) { no_device(); }
DeviceMemory memory(at::Device) { no_device(); }
int64_t peak_bytes(at::Device) { no_device(); }
void release_cached_memory() {}
void copy_rows(const at::Tensor&, const at::Tensor&, c10::Stream) { no_device(); }
bool lock_pages(void*, int64_t, at::Device) { no_device(); }
void unlock_pages(void*) {}

}  // namespace slice::ops::on_device

namespace slice::detail {

std::unique_ptr<DecodePlan> make_decode_plan(const DecoderImpl&, const KvCache&) { return nullptr; }

at::Tensor prefill(const DecodeModel&, const KvCache&, const at::Tensor&, int64_t, int64_t) {
  ops::on_device::no_device();
}

}  // namespace slice::detail
