#include "libslice/sampling.h"

#include <ATen/ATen.h>

#include "libslice/detail/check.h"
#include "libslice/detail/finite.h"
#include "libslice/detail/tensor_text.h"

namespace slice {

using at::Tensor;

int64_t sample_token(const Tensor& logits, const SamplingOptions& options,
                     std::mt19937_64& random) {
  SLICE_CHECK(logits.dim() == 1 && logits.numel() > 0, "sampling: want logits (V), got {}",
              detail::describe(logits));
  SLICE_CHECK(options.temperature >= 0, "temperature: want at least 0, got {}",
              options.temperature);
  SLICE_CHECK(options.top_p > 0 && options.top_p <= 1, "top-p: want a value in (0, 1], got {}",
              options.top_p);
  detail::check_finite(logits, "logits");
  if (options.temperature == 0) return logits.argmax().item<int64_t>();

  const Tensor wide = logits.to(at::kCPU, at::kDouble);
  const Tensor probabilities =
      ((wide - wide.max()) / options.temperature).softmax(0);  // no temperature overflows 0
  const auto [descending, ids] =
      probabilities.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const double* p = descending.const_data_ptr<double>();
  const int64_t V = logits.size(0);
  int64_t nucleus = 0;
  double mass = 0;
  while (nucleus < V && mass < options.top_p) mass += p[nucleus++];

  const double u = static_cast<double>(random() >> 11) * 0x1.0p-53 * mass;  // uniform in [0, mass)
  double below = 0;
  int64_t drawn = 0;
  while (drawn + 1 < nucleus && (below += p[drawn]) <= u) ++drawn;
  return ids[drawn].item<int64_t>();
}

}  // namespace slice
