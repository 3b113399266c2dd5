#include <ATen/ATen.h>

#include <utility>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/method/joint_writer.h"
#include "libslice/slicing/detail/recovery.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice::detail {

using at::Tensor;

int64_t Refitter::passes() const { return 3 + (trains() ? recovery_passes(options_.recover) : 0); }

void Refitter::recover(int64_t site, SplitMoments moments, const Writer& start, const Refit& closed,
                       const Tensor& P_next, const Tensor& S) {
  const Charge charge(report_.recover_seconds, model_.head.weight.device());
  Sublayer& s = model_.sublayers[site - 1];
  const auto set = [&](Writer writer, const Writer& from) { store(s, std::move(writer), from); };
  // Training is judged on the windows for choices, so what it begins with must not know them.
  set(named(s.name, [&] { return solve_writer(moments.fit, start, P_next, S, closed.ridge); }),
      start);
  moments = {};  // gives its memory back
  const int64_t counted = reporter_.passed();
  Recovery recovery({.sublayer = s,
                     .x = x_,
                     .dense = dense_,
                     .parts = parts_,
                     .weights = weights_,
                     .group = group_,
                     .P = P_next,
                     .Gamma = gamma(site),
                     .epochs = options_.recover,
                     .seed = options_.seed + static_cast<uint64_t>(site),
                     .tf32 = options_.tf32,
                     .passed = [this](int64_t tokens) { reporter_.chunk_done(tokens); }});
  double share = recovery.train();
  if (share < 1) {
    hidden_.forget();  // the readers are others now
    const Writer trained = output_.scaled(writer_of(s));
    const SplitMoments again = observe(site);
    Refit solved = named(s.name, [&] { return refit_writer(again, trained, P_next, S); });
    set(named(s.name, [&] { return solve_writer(again.fit, trained, P_next, S, solved.ridge); }),
        trained);
    const double after = recovery.share();
    set(after < share ? solved.writer : trained, trained);
    share = std::min(share, after);
  } else {
    set(closed.writer, start);
  }
  report_.sites.back().recovered = share;
  reporter_.count_up_to(counted + recovery_passes(options_.recover) * x_.tokens());
}

}  // namespace slice::detail
