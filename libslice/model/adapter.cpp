#include "libslice/model/adapter.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/model/detail/placeholder.h"

namespace slice {

using at::Tensor;

Tensor ExpertTokens::shared() const {
  return (hidden * shares.unsqueeze(1)).to(hidden.scalar_type());
}

std::vector<LinearRef> Branch::writers() const {
  if (!mixes()) return {writer};
  std::vector<LinearRef> all;
  for (const ExpertRef& expert : experts) all.push_back(expert.writer);
  return all;
}

Tensor Branch::written(const Tensor& normed, KvCache* cache) const {
  return mixes() ? mixture(normed) : at::linear(hidden(normed, cache), writer.weight, writer.bias);
}

Tensor Sublayer::output(const Tensor& x, KvCache* cache) const {
  const Tensor normed = norm->forward(x);  // (B, T, k_a)
  Tensor sum;                              // (B, T, k_b)
  for (const Branch& branch : branches) {
    const Tensor own = branch.norm.is_empty() ? normed : branch.norm->forward(x);
    const Tensor y = branch.written(own, cache);
    sum = sum.defined() ? sum + y : y;
  }
  return scale == 1 ? sum : sum * scale;
}

Tensor Sublayer::addend(const Tensor& o) const {
  return out_norm.is_empty() ? o : out_norm->forward(o);
}

Tensor Sublayer::written(const Tensor& x, KvCache* cache) const { return addend(output(x, cache)); }

Tensor Sublayer::after(const Tensor& x, const Tensor& o) const {
  const Tensor z = shortcut->forward(x, addend(o));  // (B, T, k_b)
  if (tap != nullptr) (*tap)(z);
  return z;
}

Tensor Sublayer::forward(const Tensor& x, KvCache* cache) const {
  return after(x, output(x, cache));
}

Tensor LogitForm::operator()(const Tensor& logits) const {
  const Tensor scaled = scale == 1 ? logits : logits * scale;
  return softcap > 0 ? at::tanh(scaled / softcap) * softcap : scaled;
}

namespace {

/// A placeholder is not checked here, but by the code that loads the weight.
void check_value(const Tensor& weight, const std::string& name) {
  if (!detail::is_placeholder(weight)) detail::check_finite(weight, name);
}

void check_linear(const LinearRef& linear, int64_t D, bool writes) {
  const Tensor& W = linear.weight;
  SLICE_CHECK(W.defined() && W.dim() == 2, "{}: want a weight matrix, got {}", linear.name,
              detail::describe(W));
  SLICE_CHECK(W.size(writes ? 0 : 1) == D, "{}: want {}, got {}", linear.name,
              writes ? detail::formatted("({}, …)", D) : detail::formatted("(…, {})", D),
              detail::describe(W));
  if (linear.bias.defined()) {
    SLICE_CHECK(linear.bias.dim() == 1 && linear.bias.size(0) == W.size(0),
                "{} bias: want ({}), got {}", linear.name, W.size(0),
                detail::describe(linear.bias));
    check_value(linear.bias, linear.name + " bias");
  }
  check_value(W, linear.name);
}

void check_norm(const Norm& norm, int64_t D, const std::string& name) {
  SLICE_CHECK(!norm.is_empty() && norm->hidden_size() == D, "{}: want a norm of width {}", name, D);
  if (norm->weight.defined()) check_value(norm->weight, name + " weight");
  if (norm->bias.defined()) check_value(norm->bias, name + " bias");
}

void check_kind(const Norm& norm, const Norm& wanted, const std::string& name) {
  SLICE_ARGUMENT_CHECK(norm->kind() == wanted->kind(),
                       "{} norm: want the same kind, RMSNorm or LayerNorm, as the final norm",
                       name);
}

/// Once they are fused, the norms of a sublayer are one.
void check_branch_norm(const Norm& norm, const Sublayer& s, int64_t D) {
  check_norm(norm, D, s.name + " norm of a branch");
  check_kind(norm, s.norm, s.name);
  SLICE_ARGUMENT_CHECK(norm->eps() == s.norm->eps(),
                       "{}: norms of branches want one eps, got {} and {}", s.name, s.norm->eps(),
                       norm->eps());
}

/// A reader of a norm, whose bias has to take in the norm's β.
void check_reader(const LinearRef& reader, const Norm& norm, int64_t D, bool rotates) {
  check_linear(reader, D, /*writes=*/false);
  SLICE_ARGUMENT_CHECK(!rotates || !norm->bias.defined() || reader.bias.defined(),
                       "{}: its norm has a bias, so it needs one too: give it zeros", reader.name);
}

}  // namespace

void check_rotates(const ModelAdapter& model) {
  for (const Sublayer& s : model.sublayers) {
    SLICE_ARGUMENT_CHECK(
        s.out_norm.is_empty(),
        "{}: a norm on its output keeps the residual stream as it is, so that neither slicegpt nor "
        "a smaller hidden size is possible: remove feed-forward channels alone, by refit with the "
        "hidden size kept",
        s.name);
  }
}

void check_adapter(const ModelAdapter& model, bool rotates, bool keep_tie) {
  const int64_t D = model.hidden_size;
  if (rotates) check_rotates(model);
  SLICE_ARGUMENT_CHECK(
      D > 0 && !model.embeddings.empty() && model.embed && !model.sublayers.empty(),
      "model: want a hidden size, an embedding and at least one sublayer");
  check_norm(model.final_norm, D, "final norm");
  SLICE_ARGUMENT_CHECK(
      !rotates || !keep_tie || model.head.weight.is_same(model.embeddings[0].weight),
      "keep tie: {} is not the tensor of {}", model.head.name, model.embeddings[0].name);
  check_reader(model.head, model.final_norm, D, rotates && !keep_tie);
  for (const LinearRef& embedding : model.embeddings) {
    check_linear(embedding, D, /*writes=*/false);
    SLICE_ARGUMENT_CHECK(!rotates || keep_tie || !model.head.weight.is_alias_of(embedding.weight),
                         "{} shares its memory with {}: untie it first", model.head.name,
                         embedding.name);
  }
  for (const Sublayer& s : model.sublayers) {
    check_norm(s.norm, D, s.name + " norm");
    if (s.norm->kind() != NormKind::kNone) check_kind(s.norm, model.final_norm, s.name);
    if (!s.out_norm.is_empty()) {
      check_norm(s.out_norm, D, s.name + " output norm");
      SLICE_ARGUMENT_CHECK(s.out_norm->kind() == NormKind::kRms, "{} output norm: want an RMSNorm",
                           s.name);
    }
    SLICE_ARGUMENT_CHECK(
        !s.shortcut.is_empty() && s.shortcut->identity() && s.tap != nullptr && !s.branches.empty(),
        "{}: want a branch, a tap and an identity shortcut (a sliced model cannot be "
        "sliced again)",
        s.name);
    for (const Branch& branch : s.branches) {
      SLICE_ARGUMENT_CHECK((branch.hidden || branch.mixes()) && !branch.readers.empty(),
                           "{}: want readers and a hidden function", s.name);
      SLICE_ARGUMENT_CHECK(
          !branch.mixes() || (s.mixes() && !branch.experts.empty() && branch.expert_hidden),
          "{}: want a mixture alone in its sublayer, with experts and what they read", s.name);
      if (!branch.norm.is_empty()) check_branch_norm(branch.norm, s, D);
      const Norm& norm = s.norm_of(branch);
      for (const LinearRef& reader : branch.readers) check_reader(reader, norm, D, rotates);
      for (const LinearRef& writer : branch.writers()) check_linear(writer, D, /*writes=*/true);
    }
  }
}

}  // namespace slice
