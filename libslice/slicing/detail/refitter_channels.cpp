#include <ATen/ATen.h>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/method/channels.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice::detail {

using at::Tensor;

void Refitter::drop_channels(Sublayer& s, int64_t site, Writer& writer, SplitMoments& moments) {
  int64_t column = 0;
  for (Branch& branch : s.branches) {
    const int64_t width = branch.writer.weight.size(1);
    if (branch.channels) {
      const int64_t keep = next_width(branch);
      if (keep < width) {
        const Charge charge(report_.refit_seconds);
        named(branch.writer.name,
              [&] { narrow(branch, site, column, width, keep, writer, moments); });
      }
      column += keep;
    } else {
      column += width;
    }
  }
}

int64_t Refitter::next_width(const Branch& branch) {
  const int64_t network = networks_++;
  report_.ffn_sizes.push_back(options_.ffn_sizes.empty() ? branch.width()
                                                         : options_.ffn_sizes.at(network));
  return report_.ffn_sizes.back();
}

void Refitter::narrow(Branch& branch, int64_t site, int64_t column, int64_t width, int64_t keep,
                      Writer& writer, SplitMoments& moments) {
  Tensor all = moments.fit.hh;  // (F, F)
  for (const Moments& text : moments.choose) all = all + text.hh;
  const auto own = [&](const Tensor& X, int64_t dimension) {
    return X.slice(dimension, column, column + width);
  };
  Tensor kept = keep_channels(own(own(all, 0), 1), own(writer.weight, 1), gamma(site), keep,
                              kChannelRidge);  // (keep), of this network
  group_.copy_from_inplace(0, kept);
  const auto index = at::TensorOptions(kept.device()).dtype(at::kLong);
  const Tensor stay =  // of all that the sublayer's writers read
      at::cat({at::arange(0, column, index), kept + column,
               at::arange(column + width, all.size(0), index)});
  const Tensor rows = all.index_select(0, stay);  // (F', F)
  writer.weight =
      ridge_solve(rows.index_select(1, stay), rows.mm(writer.weight.t()), kChannelRidge).t();
  remove_channels(branch, kept);
  hidden_.select(stay);
  moments = moments.with_channels(stay);
}

}  // namespace slice::detail
