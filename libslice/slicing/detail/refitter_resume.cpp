#include "libslice/method/working_memory.h"
#include "libslice/slicing/cost.h"
#include "libslice/slicing/detail/refitter.h"
#include "libslice/slicing/detail/resume_journal.h"

namespace slice::detail {

namespace {

constexpr char kSliced[] = "signal", kDense[] = "dense";

}  // namespace

SignalOptions Refitter::signal_options() {
  WorkingSizes sizes = working_sizes(model_, Method::kRefit, trains());
  sizes.choosing_texts = std::ssize(parts_.choose);
  const int64_t T = parts_.tokens.size(1);
  return {.on_smaller_chunks = [this](int64_t less) { reporter_.note_smaller_chunks(less); },
          .working_bytes = working_bytes(sizes, T) + training_bytes(sizes, T),
          .place = options_.signal_place,
          .processes = group_.size(),
          .scratch = hooks_.scratch};
}

Signal Refitter::first_sliced_signal() {
  if (hooks_.resumes()) {
    const int64_t site = hooks_.journal->first_part() - 1;
    return hooks_.journal->restore(kSliced,
                                   {parts_.tokens.size(0), parts_.tokens.size(1), sizes_[site]}, D_,
                                   model_.head.weight.options(), signal_options());
  }
  hooks_.entered(0);
  const int64_t chunk = options_.chunk_tokens > 0 ? options_.chunk_tokens : kHostChunkTokens;
  return Signal(parts_.tokens, chunk, model_.embed, signal_options());
}

Signal Refitter::first_dense_signal() {
  if (hooks_.resumes()) {
    return hooks_.journal->restore(kDense, {parts_.tokens.size(0), parts_.tokens.size(1), D_}, D_,
                                   model_.head.weight.options(), signal_options());
  }
  Signal dense = x_.clone();
  if (options_.chunk_tokens <= 0) {
    x_.set_chunk_tokens(fitting_chunk_tokens(model_));
    dense.set_chunk_tokens(x_.chunk_tokens());
  }
  return dense;
}

int64_t Refitter::resume() {
  if (!hooks_.resumes()) return 0;
  const ResumeJournal& journal = *hooks_.journal;
  const int64_t first = journal.first_part();
  reporter_.begin_after(passes() * (first - 1));
  reporter_.note(journal.progress(model_.sublayers[first - 1].name));
  for (int64_t site = 0; site < first; ++site) {
    const FoundSite found = journal.recall(site, {D_, sizes_[site]}, model_.head.weight.device());
    reporter_.site_recalled(site_name(site), sizes_[site], found.kept_variance, found.seconds);
    report_.sites.back().recovered = found.recovered;
    P_ = found.basis;  // the last one has it, unless it is the original
  }
  for (int64_t before = 0; before + 1 < first; ++before)
    for (const Branch& branch : model_.sublayers[before].branches)
      if (branch.channels) next_width(branch);
  const double tau = journal.numbers(1)[0];
  if (tau > 0) output_aware_ = OutputAwareBasis(tau);
  return first;
}

void Refitter::save_state(int64_t part) {
  if (!hooks_.save) return;
  if (hooks_.journal != nullptr) {
    for (const SiteReport& site : report_.sites)
      hooks_.journal->found(
          site.index, {P_, site.kept_variance, site.seconds, x_.chunk_tokens(), site.recovered});
  }
  const std::string words = hooks_.save(part, {.signals = {{kSliced, &x_}, {kDense, &dense_}},
                                               .P = P_,
                                               .numbers = {output_aware_.tau().value_or(0)}});
  if (!words.empty()) reporter_.note(words);
}

}  // namespace slice::detail
