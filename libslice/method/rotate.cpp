#include "libslice/method/rotate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/method/fuse.h"

namespace slice {

using at::Tensor;

namespace {

/// Rows worked on at a time: bounds the float64 copies of an embedding or a head.
constexpr int64_t kRows = 4096;

void check_basis(const Tensor& P, int64_t D, const std::string& name) {
  SLICE_CHECK(P.dim() == 2 && P.size(0) == D && P.size(1) <= D, "{}: want a basis ({}, k), got {}",
              name, D, detail::describe(P));
  SLICE_CHECK_AS(DtypeError, P.scalar_type() == at::kDouble, "{}: want a float64 basis, got {}",
                 name, detail::describe(P));
}

/// W diag(α) P in W's dtype.                                                  (out, D) → (out, k)
Tensor read_through(const LinearRef& reader, const Norm& norm, const Tensor& P,
                    const ProcessGroup& group) {
  const Tensor& W = reader.weight;
  if (P.defined()) check_basis(P, W.size(1), reader.name);
  Tensor rotated = at::empty({W.size(0), P.defined() ? P.size(1) : W.size(1)}, W.options());
  const auto [first, last] = group.share(W.size(0));
  for (int64_t row = first; row < last; row += kRows) {
    const int64_t end = std::min(row + kRows, last);
    const Tensor fused = norm.is_empty() ? W.slice(0, row, end).to(at::kDouble)
                                         : fused_weight(W.slice(0, row, end), norm);
    rotated.slice(0, row, end).copy_(P.defined() ? fused.mm(P) : fused);
  }
  group.gather_rows_inplace(rotated);
  detail::check_finite(rotated, reader.name + " rotated");  // a half type may be too narrow
  return rotated;
}

using Rewritten = std::vector<std::pair<Tensor, Tensor>>;  // (parameter, its new value)

/// A reader of a norm, fused and rotated.                                 W diag(α) P,  b + W β
void rewrite_reader(const LinearRef& reader, const Norm& norm, const Tensor& P,
                    const ProcessGroup& group, Rewritten& rewritten) {
  rewritten.emplace_back(reader.weight, read_through(reader, norm, P, group));
  const Tensor bias = fused_bias(reader, norm);
  if (!bias.defined()) return;
  const Tensor value = bias.to(reader.bias.scalar_type());
  detail::check_finite(value, reader.name + " bias fused");
  rewritten.emplace_back(reader.bias, value);
}

void commit(Rewritten& rewritten) {
  for (auto& [parameter, value] : rewritten) parameter.set_data(value);
}

/// Takes from a norm what its readers have now. In the original basis it keeps ones and zeros, so
/// that the model is still a stock one; in a rotated basis, where α has no meaning, nothing.
void empty_norm(const Norm& norm, const Tensor& P) {
  if (P.defined()) {
    norm.ptr()->drop_weights();
  } else {
    norm.ptr()->reset_weights();
  }
}

}  // namespace

void rotate_readers(Sublayer& s, const Tensor& P, const ProcessGroup& group) {
  Rewritten rewritten;
  for (const Branch& branch : s.branches) {
    for (const LinearRef& reader : branch.readers)
      rewrite_reader(reader, s.norm_of(branch), P, group, rewritten);
  }
  commit(rewritten);
  empty_norm(s.norm, P);
  for (const Branch& branch : s.branches) empty_norm(s.norm_of(branch), P);
}

void rotate_writers(Sublayer& s, const Tensor& P, const ProcessGroup& group) {
  if (!P.defined()) return;
  SLICE_ARGUMENT_CHECK(s.out_norm.is_empty(), "{}: a norm on its output keeps the stream as it is",
                       s.name);
  Rewritten rewritten;
  std::vector<LinearRef> writers;
  for (const Branch& branch : s.branches)
    for (LinearRef& writer : branch.writers()) writers.push_back(std::move(writer));
  for (const LinearRef& writer : writers) {
    check_basis(P, writer.weight.size(0), writer.name);
    const auto rotate = [&](const Tensor& parameter, const std::string& name) {
      const auto [first, last] = group.share(P.size(1));
      std::vector<int64_t> shape = parameter.sizes().vec();
      shape[0] = P.size(1);
      Tensor value = at::empty(shape, parameter.options());
      value.slice(0, first, last)
          .copy_(at::matmul(P.slice(1, first, last).t(), parameter.to(at::kDouble)));
      group.gather_rows_inplace(value);
      detail::check_finite(value, name + " rotated");
      rewritten.emplace_back(parameter, value);
    };
    rotate(writer.weight, writer.name);
    if (writer.bias.defined()) rotate(writer.bias, writer.name + " bias");
  }
  commit(rewritten);
}

void rotate_embeddings(ModelAdapter& model, const Tensor& P, const ProcessGroup& group) {
  for (LinearRef& embedding : model.embeddings) {
    embedding.weight.set_data(read_through(embedding, Norm{nullptr}, P, group));
  }
}

void rotate_head(ModelAdapter& model, const Tensor& P, const ProcessGroup& group) {
  Rewritten rewritten;
  rewrite_reader(model.head, model.final_norm, P, group, rewritten);
  commit(rewritten);
  empty_norm(model.final_norm, P);
}

}  // namespace slice
