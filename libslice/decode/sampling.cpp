#include "libslice/decode/sampling.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/decode/detail/sample.h"

namespace slice {

using at::Tensor;

void check_sampling(const SamplingOptions& options) {
  SLICE_ARGUMENT_CHECK(options.temperature >= 0, "temperature: want at least 0, got {}",
                       options.temperature);
  SLICE_ARGUMENT_CHECK(options.top_p > 0 && options.top_p <= 1,
                       "top-p: want a value in (0, 1], got {}", options.top_p);
}

int64_t sample_token(const Tensor& logits, const SamplingOptions& options,
                     const SamplePlace& place) {
  SLICE_CHECK(logits.dim() == 1 && logits.numel() > 0 && logits.numel() <= detail::kMostSampleIds,
              "sampling: want logits (V), got {}", detail::describe(logits));
  check_sampling(options);
  detail::check_finite(logits, "logits");
  const Tensor host = logits.to(at::kCPU, at::kFloat).contiguous();
  const float* first = host.const_data_ptr<float>();
  return detail::sample_id({first, first + host.numel()},
                           detail::sample_scale(options.temperature, options.top_p), place.seed,
                           place.sequence, static_cast<uint64_t>(place.position));
}

}  // namespace slice
