#include "libslice/method/output_norm.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

namespace slice::detail {

using at::Tensor;

OutputNorm::OutputNorm(Norm norm, int64_t windows) : norm_(std::move(norm)), windows_(windows) {}

void OutputNorm::see(int64_t window, const Tensor& o) {
  if (norm_.is_empty()) return;
  const Tensor r = norm_->divisor(o);  // (n, T, 1)
  if (!divisors_.defined()) divisors_ = at::empty({windows_, r.size(1), 1}, r.options());
  divisors_.slice(0, window, window + r.size(0)).copy_(r);
}

void OutputNorm::finish(int64_t summed, const ProcessGroup& group) {
  if (norm_.is_empty()) return;
  double total = 0, tokens = 0;
  if (divisors_.defined()) {
    const Tensor own = divisors_.slice(0, 0, summed).to(at::kDouble);
    total = own.square().reciprocal().sum().item<double>();
    tokens = static_cast<double>(own.numel());
  }
  total = group.sum(total);
  mean_ = std::sqrt(group.sum(tokens) / total);
  const Tensor gamma = norm_->weight.defined() ? norm_->weight.to(at::kDouble)
                                               : at::ones({norm_->hidden_size()}, at::kDouble);
  const Tensor floor = kOutputNormFloor * gamma.abs().mean();
  kept_ = gamma.abs() < floor;
  weight_ = at::where(kept_, floor, gamma) / mean_;
}

Tensor OutputNorm::scale(int64_t begin, int64_t end) const {
  return norm_.is_empty() ? Tensor() : mean_ / divisors_.slice(0, begin, end);
}

Writer OutputNorm::scaled(Writer writer) const {
  if (norm_.is_empty()) return writer;
  const Tensor g = weight_.to(writer.weight.device());
  return {writer.weight * g.unsqueeze(1), writer.bias.defined() ? writer.bias * g : Tensor()};
}

Writer OutputNorm::unscaled(Writer writer, const Writer& start) const {
  if (norm_.is_empty()) return writer;
  const Tensor g = weight_.to(writer.weight.device()), kept = kept_.to(g.device());
  writer.weight = at::where(kept.unsqueeze(1), start.weight, writer.weight) / g.unsqueeze(1);
  if (writer.bias.defined()) writer.bias = at::where(kept, start.bias, writer.bias) / g;
  return writer;
}

}  // namespace slice::detail
