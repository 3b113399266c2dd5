#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/device/ops.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice::detail {

using at::Tensor;

void Refitter::score_dense() {
  const Tensor W = E_.defined() ? E_ : model_.head.weight;  // (V, D)
  const std::vector<double> before = losses([&](const Tensor&, const Tensor& z) {
    return at::linear(model_.final_norm->forward(z), W, model_.head.bias);
  });
  for (size_t i = 0; i < before.size(); ++i)
    report_.texts[parts_.held_out[i].text].held_out_before = before[i];
}

void Refitter::score_sliced() {
  Logits logits_of;
  if (trial_ && rotates_) {          // the head is as it was, and reads through a map
    const Writer M = head_reader();  // n̂ ↦ the dense model's n: (D, k)
    const Tensor W = M.weight.to(dtype_), b = M.bias.defined() ? M.bias.to(dtype_) : Tensor();
    logits_of = [this, W, b](const Tensor& x, const Tensor&) {
      const Tensor n = at::linear(ops::rms_norm(x, D_, model_.final_norm->eps()), W, b);
      return at::linear(n, model_.head.weight, model_.head.bias);
    };
  } else {
    logits_of = [this](const Tensor& x, const Tensor&) {
      Tensor n = model_.final_norm->forward(x);
      const LinearRef& map = model_.head_map;
      if (map.weight.defined()) n = at::linear(n, map.weight, map.bias);
      return at::linear(n, model_.head.weight, model_.head.bias);
    };
  }
  const std::vector<double> after = losses(logits_of);
  for (size_t i = 0; i < after.size(); ++i)
    report_.texts[parts_.held_out[i].text].held_out_after = after[i];
}

std::vector<double> Refitter::losses(const Logits& logits_of) {
  const Charge charge(report_.calibrate_seconds, model_.head.weight.device());
  std::vector<double> means;
  for (const WindowPart& part : parts_.held_out) {
    double total = 0;
    int64_t window = part.begin, scored = 0;
    visit(part, [&](const Tensor& x, const Tensor& z) {
      if (x.size(0) == 0) return;
      const Tensor ids = parts_.tokens.slice(0, window, window + x.size(0)).to(x.device());
      double chunk = 0;  // added once the whole chunk is done: it may run out of memory half-way
      for (int64_t i = 0; i < x.size(0); ++i) {
        const Tensor logits = model_.logit_form(logits_of(x[i], z[i]));  // (T, V)
        const int64_t T = logits.size(0);
        chunk += at::cross_entropy_loss(logits.slice(0, 0, T - 1).to(at::kFloat),
                                        ids[i].slice(0, 1), {}, at::Reduction::Sum)
                     .item<double>();
      }
      total += chunk;
      scored += x.size(0) * (x.size(1) - 1);
      window += x.size(0);
    });
    const double all = group_.sum(total), tokens = group_.sum(static_cast<double>(scored));
    means.push_back(all / std::max(tokens, 1.0));
  }
  return means;
}

}  // namespace slice::detail
