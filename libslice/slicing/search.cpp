#include "libslice/slicing/search.h"

#include <ATen/ATen.h>

#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/choose_plan.h"
#include "libslice/slicing/detail/refit_model.h"

namespace slice {

SearchResult search_plan(Model& model, const CalibrationWindows& windows,
                         const SliceOptions& options, const OnProgress& on_progress,
                         const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  SLICE_ARGUMENT_CHECK(options.method == Method::kRefit,
                       "budget: the slicegpt method has no search");
  check_recovery_windows(windows, options);  // before the search's work
  DecoderImpl& decoder = model.decoder();
  const std::shared_ptr<DecoderImpl> tried = decoder.with_prepared_readers();
  SearchResult result;
  result.tried = candidates(decoder.config(), options);
  if (result.tried.size() > 1) check_trial_windows(windows);  // before the gradients' work
  ModelAdapter adapter = tried->adapter();
  {
    const detail::Charge charge(result.gradient_seconds, decoder.device());
    result.gammas = gradient_covariances(adapter, gradient_windows(windows, options), options.seed,
                                         on_progress, group, {}, options.tf32);
  }
  result.tried = detail::choose_plan(decoder.config(), adapter, windows, options,
                                     std::move(result.tried), result.gammas, on_progress, group);
  result.options = candidate_options(options, result.tried.front());
  return result;
}

}  // namespace slice
