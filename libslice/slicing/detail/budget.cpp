#include "libslice/slicing/detail/budget.h"

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/formatted.h"
#include "libslice/decode/memory.h"

namespace slice::detail {

namespace {

std::string size_text(double bytes) {
  return bytes < 0x1p30 ? formatted("{:.1f} MiB", bytes / 0x1p20)
                        : formatted("{:.2f} GiB", bytes / 0x1p30);
}

}  // namespace

Budget::Budget(const ModelConfig& dense, const SliceOptions& options) : options_(options) {
  SLICE_ARGUMENT_CHECK(options.budgeted(),
                       "budget: want one of remove, remove_blocks and fit_bytes");
  whole_ = size(dense);
  if (options.fit_bytes) {
    most_ = static_cast<double>(*options.fit_bytes);
    return;
  }
  const double fraction = options.remove ? *options.remove : *options.remove_blocks;
  SLICE_ARGUMENT_CHECK(fraction > 0 && fraction < 1, "budget: want a fraction in (0, 1), got {}",
                       fraction);
  most_ = whole_ * (1 - fraction);
}

double Budget::size(const ModelConfig& written) const {
  if (options_.fit_bytes) {
    return static_cast<double>(inference_bytes(written, options_.fit_weight_bytes,
                                               options_.fit_context, options_.fit_batch));
  }
  const ParameterCount count = count_parameters(written);
  return static_cast<double>(options_.remove ? count.total : count.blocks);
}

bool Budget::used_up(const ModelConfig& written) const {
  constexpr double kTolerance = 0.01;
  return size(written) > most_ - kTolerance * whole_;
}

int64_t Budget::most(int64_t last, const std::function<ModelConfig(int64_t)>& written) const {
  int64_t low = -1, high = last;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (holds(written(middle))) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

std::string Budget::out_of_reach(double smallest) const {
  if (!options_.fit_bytes) {
    return formatted(
        "budget: no plan reaches it: at most {:.0f} of the dense model's {:.0f} {} were asked for, "
        "the smallest plan tried keeps {:.0f} ({:.1f} % fewer)",
        most_, whole_, options_.remove ? "parameters" : "block weights", smallest,
        100 * (1 - smallest / whole_));
  }
  return formatted(
      "budget: no plan fits into {}: the smallest one tried takes {}, the dense model {}, "
      "for {} x {} tokens and weights of {} bytes; of each, {} are CUDA's own (context, modules, "
      "cuBLAS)",
      size_text(most_), size_text(smallest), size_text(whole_), options_.fit_batch,
      options_.fit_context, options_.fit_weight_bytes, size_text(kCudaContextBytes));
}

}  // namespace slice::detail
