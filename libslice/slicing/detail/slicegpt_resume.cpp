#include <algorithm>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/detail/slicegpt.h"

namespace slice::detail {

using at::Tensor;

int64_t SliceGpt::resume() {
  const ResumeJournal* const journal = hooks_.journal;
  if (journal == nullptr || !journal->knows(0)) return 0;
  const int64_t first = journal->first_part();
  reporter_.begin_after(std::max<int64_t>(first - 1, 0));
  reporter_.note(
      journal->progress(first > 0 ? model_.sublayers[first - 1].name : "the embeddings"));
  if (first == 0) {
    hooks_.entered(0);
    embed_tokens();
    x_->set_chunk_tokens(journal->chunk_tokens(0));
    P_ = recalled(0);
    hooks_.left(0);
    project(P_);
  } else {
    for (int64_t before = 0; before < first; ++before) P_ = recalled(before);  // the last has it
    x_.emplace(journal->restore("signal", {tokens_.size(0), tokens_.size(1), sizes_[first - 1]}, D_,
                                model_.head.weight.options(), signal_options()));
    reporter_.signal_lives(*x_, options_.signal_place.has_value());
  }
  int64_t site = std::max<int64_t>(first, 1);
  for (; site <= last_ && journal->knows(site); ++site) {
    write_readers(site);
    x_->set_chunk_tokens(journal->chunk_tokens(site));
    {
      const Charge charge(report_.calibrate_seconds, P_.device());
      forward(site);
    }
    P_ = recalled(site);
    hooks_.left(site);
    if (site < last_) project(P_);
    if (site < last_) save_signal(site + 1);
  }
  return site;
}

Tensor SliceGpt::recalled(int64_t site) {
  const FoundSite found =
      hooks_.journal->recall(site, {D_, sizes_[site]}, model_.head.weight.device());
  reporter_.site_recalled(site_name(site), sizes_[site], found.kept_variance, found.seconds);
  return found.basis;
}

}  // namespace slice::detail
