#include "libslice/base/error.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/prefill.h"

namespace slice::detail {

std::unique_ptr<DecodePlan> make_decode_plan(const DecoderImpl&, const KvCache&) { return nullptr; }

at::Tensor prefill(const DecodeModel&, const KvCache&, const at::Tensor&, int64_t, int64_t) {
  throw DeviceError(
      "this libslice was built without CUDA: the tensor is on a device it cannot use");
}

}  // namespace slice::detail
