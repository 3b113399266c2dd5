#include <fmt/core.h>

#include <algorithm>

#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/detail/slicer.h"

namespace slice::detail {

using at::Tensor;

int64_t Slicer::resume() {
  const ResumeJournal* const record = passage_.record;
  if (record == nullptr || !record->knows(0)) return 0;
  const int64_t first = record->first_part();
  const ResumeReport held = record->report();
  journal_.begin_behind(std::max<int64_t>(first - 1, 0));
  journal_.note(fmt::format("going on: {} of {} layers are on the disk, the signal in front of {}",
                            held.layers_found, held.layers,
                            first > 0 ? model_.sublayers[first - 1].name : "the embeddings"));
  int64_t site = std::max<int64_t>(first, 1);
  if (first == 0) {
    passage_.entered(0);
    embed_tokens();
    x_->set_chunk_tokens(record->chunk_tokens(0));
    P_ = recalled(0);
    passage_.left(0);
    project(P_);
  } else {
    for (int64_t behind = 0; behind < first; ++behind) P_ = recalled(behind);  // the last has it
    x_.emplace(record->restore(D_, model_.head.weight.options(), signal_options()));
    journal_.signal_lives(*x_, options_.signal_place.has_value());
  }
  for (; site <= last_ && record->knows(site); ++site) {
    read_rotated(site);
    x_->set_chunk_tokens(record->chunk_tokens(site));
    {
      const Charge charge(report_.calibrate_seconds, P_.device());
      pass(site);
    }
    P_ = recalled(site);
    passage_.left(site);
    if (site < last_) project(P_);
    if (site < last_) rest(site + 1);
  }
  return site;
}

Tensor Slicer::recalled(int64_t site) {
  const FoundSite found = passage_.record->recall(site, model_.head.weight.device());
  journal_.site_recalled(site_name(site), sizes_[site], found.kept_variance, found.seconds);
  return found.basis;
}

}  // namespace slice::detail
