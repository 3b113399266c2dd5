#include "libslice/method/joint_writer.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "libslice/base/detail/finite.h"

namespace slice::detail {

using at::Tensor;

Tensor hidden_of(const Sublayer& s, const Tensor& x) {
  const Tensor normed = s.norm->forward(x);
  std::vector<Tensor> parts;
  for (const Branch& branch : s.branches) {
    const Tensor own = branch.norm.is_empty() ? normed : branch.norm->forward(x);
    parts.push_back(branch.hidden(own, nullptr));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, -1);
}

Tensor output_of(const Sublayer& s, const Tensor& h) {
  Tensor sum;
  int64_t column = 0;
  for (const Branch& branch : s.branches) {
    const int64_t width = branch.writer.weight.size(1);
    const Tensor y =
        at::linear(h.slice(-1, column, column + width), branch.writer.weight, branch.writer.bias);
    sum = sum.defined() ? sum + y : y;
    column += width;
  }
  return s.scale == 1 ? sum : sum * s.scale;
}

Tensor written(const Sublayer& s, const Tensor& h, const Tensor& x) {
  return s.shortcut->forward(x, s.addend(output_of(s, h)));
}

Writer writer_of(const Sublayer& s) {
  std::vector<Tensor> weights;
  Writer writer;
  for (const Branch& branch : s.branches) {
    weights.push_back(branch.writer.weight.to(at::kDouble));
    if (!branch.writer.bias.defined()) continue;
    const Tensor b = branch.writer.bias.to(at::kDouble);
    writer.bias = writer.bias.defined() ? writer.bias + b : b;
  }
  writer.weight = weights.size() == 1 ? weights[0] : at::cat(weights, 1);
  if (s.scale == 1) return writer;
  writer.weight = writer.weight * s.scale;
  if (writer.bias.defined()) writer.bias = writer.bias * s.scale;
  return writer;
}

void set_writer(Sublayer& s, const Writer& writer) {
  std::vector<std::pair<Tensor, Tensor>> rewritten;
  int64_t column = 0;
  bool first = true;
  for (Branch& branch : s.branches) {
    LinearRef& w = branch.writer;
    const int64_t width = w.weight.size(1);
    rewritten.emplace_back(w.weight, (writer.weight.slice(1, column, column + width) / s.scale)
                                         .to(w.weight.scalar_type())
                                         .contiguous());
    check_finite(rewritten.back().second, w.name + " refitted");
    column += width;
    if (!w.bias.defined()) continue;
    const Tensor bias = first ? writer.bias / s.scale : at::zeros_like(writer.bias);
    rewritten.emplace_back(w.bias, bias.to(w.bias.scalar_type()));
    first = false;
  }
  for (auto& [parameter, value] : rewritten) parameter.set_data(value);
}

int64_t hidden_width(const Sublayer& s) {
  int64_t width = 0;
  for (const Branch& branch : s.branches) width += branch.writer.weight.size(1);
  return width;
}

}  // namespace slice::detail
