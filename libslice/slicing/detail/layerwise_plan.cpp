#include "libslice/slicing/detail/layerwise_plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/device/detail/memory.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/cost.h"
#include "libslice/slicing/detail/choose_plan.h"
#include "libslice/slicing/detail/layer_reader.h"
#include "libslice/slicing/detail/refit_model.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// One run of layerwise_plan: the model whose weights come and go.
class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const SliceOptions& asked, at::Device device,
          at::ScalarType dtype, ResumeJournal* journal, const OnProgress& on_progress)
      : dense_(checkpoint.config()),
        asked_(asked),
        device_(device),
        dtype_(dtype),
        journal_(journal),
        on_progress_(on_progress),
        decoder_(dense_) {
    const bool own_head = !asked.budgeted() && asked.rotates(dense_.hidden_size);
    decoder_.prepare_readers();  // trials rotate
    if (own_head) decoder_.prepare_head();
    reader_.emplace(decoder_, checkpoint, device, dtype);
    adapter_ = decoder_.adapter();
    if (own_head) check_adapter(adapter_);
  }

  /// What an earlier run kept, or computed and kept.
  std::vector<Tensor> gammas(const CalibrationWindows& windows) {
    std::vector<Tensor> gammas;
    if (journal_ != nullptr)
      gammas = journal_->gammas(std::ssize(adapter_.sublayers) + 1, adapter_.hidden_size);
    if (!gammas.empty()) {
      note("resuming: the gradient covariances are on the disk");
      return gammas;
    }
    gammas = gradient_covariances(adapter_, gradient_windows(windows, asked_), asked_.seed,
                                  on_progress_, {}, held(), asked_.tf32);
    reader_->release();
    if (journal_ != nullptr) said("gradient covariances", journal_->keep_gammas(gammas));
    return gammas;
  }

  std::vector<Candidate> plan(const CalibrationWindows& windows, std::vector<Candidate> candidates,
                              const std::vector<Tensor>& gammas,
                              const std::filesystem::path& scratch) {
    if (journal_ != nullptr) {
      std::vector<Candidate> tried = journal_->candidates();
      if (!tried.empty()) {
        note("resuming: the plan is on the disk");
        return tried;
      }
    }
    const HeldWeights weights = held();
    const LayerHooks hooks{.enter = [&](int64_t part) { weights.hold_part(part); },
                           .scratch = scratch};
    std::vector<Candidate> tried =
        choose_plan(dense_, adapter_, windows, asked_, std::move(candidates), gammas, on_progress_,
                    {}, weights, hooks);
    reader_->release();
    if (journal_ != nullptr) said("plan", journal_->keep_candidates(tried));
    return tried;
  }

 private:
  HeldWeights held() {
    const int64_t sublayers =
        held_layers(dense_, device_, dtype_) * (dense_.parallel_block ? 1 : 2);
    return {sublayers, [this](int64_t first, int64_t last) { reader_->hold(first, last); }};
  }
  void note(const std::string& words) const {
    if (on_progress_) on_progress_({.phase = "gradients", .note = words});
  }
  void said(const std::string& what, const std::string& reason) const {
    if (reason.empty()) return;
    note("no room to keep the " + what + ", found again when the run is resumed: " + reason);
  }

  const ModelConfig& dense_;
  const SliceOptions& asked_;
  at::Device device_;
  at::ScalarType dtype_;
  ResumeJournal* journal_;
  const OnProgress& on_progress_;
  DecoderImpl decoder_;
  std::optional<LayerReader> reader_;
  ModelAdapter adapter_;
};

}  // namespace

SearchResult layerwise_plan(const Checkpoint& checkpoint, const CalibrationWindows& windows,
                            const SliceOptions& asked, at::Device device, at::ScalarType dtype,
                            const std::filesystem::path& scratch, ResumeJournal* journal,
                            const OnProgress& on_progress) {
  SearchResult result;
  result.options = asked;
  std::vector<Candidate> all;
  check_recovery_windows(windows, asked);  // before the gradients' work
  if (asked.budgeted()) {
    all = layerwise_candidates(checkpoint.config(), asked);
    if (all.size() > 1) check_trial_windows(windows);
  }
  Planner planner(checkpoint, asked, device, dtype, journal, on_progress);
  {
    const Charge charge(result.gradient_seconds);
    result.gammas = planner.gammas(windows);
  }
  if (!asked.budgeted()) return result;
  name_memory("the search for a plan", device, [&] {
    result.tried = planner.plan(windows, std::move(all), result.gammas, scratch);
  });
  result.options = candidate_options(asked, result.tried.front());
  return result;
}

}  // namespace slice::detail
