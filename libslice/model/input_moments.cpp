#include "libslice/model/input_moments.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice {

using at::Tensor;

namespace {

/// x (…, in) → what its tokens add.
InputMoment moment_of(const Tensor& x) {
  const Tensor rows = x.flatten(0, -2).to(at::toOpMathType(x.scalar_type()));  // (n, in)
  return {rows.square().sum(0, /*keepdim=*/false, at::kDouble), rows.size(0)};
}

void add(InputMoments& moments, const LinearRef& linear, const InputMoment& seen) {
  InputMoment& sum = moments[linear.name];
  sum.squares = sum.squares.defined() ? sum.squares + seen.squares : seen.squares;
  sum.tokens += seen.tokens;
}

bool belongs_to(const LinearRef& reader, const ExpertRef& expert) {
  return std::ranges::count(expert.readers, reader.name, &LinearRef::name) > 0;
}

/// The same function, which adds what its layers read to `moments`.
Branch observed(const Branch& branch, InputMoments& moments) {
  Branch seen = branch;
  if (!branch.mixes()) {
    seen.hidden = [branch, &moments](const Tensor& normed, KvCache* cache) {
      const InputMoment read = moment_of(normed);
      for (const LinearRef& reader : branch.readers) add(moments, reader, read);
      Tensor hidden = branch.hidden(normed, cache);
      add(moments, branch.writer, moment_of(hidden));
      return hidden;
    };
    return seen;
  }
  seen.mixture = [branch, &moments](const Tensor& normed) {
    for (const LinearRef& reader : branch.readers) {
      const auto own = [&](const ExpertRef& expert) { return belongs_to(reader, expert); };
      if (std::ranges::none_of(branch.experts, own)) add(moments, reader, moment_of(normed));
    }
    branch.expert_hidden(normed, 0, std::ssize(branch.experts),
                         [&](int64_t expert, const ExpertTokens& tokens) {
                           const InputMoment read = moment_of(tokens.normed);
                           for (const LinearRef& reader : branch.experts[expert].readers)
                             add(moments, reader, read);
                           add(moments, branch.experts[expert].writer, moment_of(tokens.hidden));
                         });
    return branch.mixture(normed);
  };
  return seen;
}

void check_finite(const InputMoments& moments) {
  for (const auto& [name, moment] : moments) {
    const double sum = moment.squares.sum().item<double>();
    SLICE_CHECK_AS(NumericError, std::isfinite(sum), "{}: a NaN or Inf in what it reads", name);
  }
}

}  // namespace

InputMoments input_moments(const ModelAdapter& model, const Tensor& tokens,
                           const OnProgress& on_progress) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.numel() > 0, "tokens: want (N, T), got {}",
              detail::describe(tokens));
  const at::NoGradGuard no_grad;
  const detail::Stopwatch clock;
  InputMoments moments;
  std::vector<Sublayer> sublayers = model.sublayers;
  for (Sublayer& sublayer : sublayers)
    for (Branch& branch : sublayer.branches) branch = observed(branch, moments);
  const int64_t N = tokens.size(0);
  for (int64_t done = 1; done <= N; ++done) {
    Tensor x = model.embed(tokens.slice(0, done - 1, done));  // (1, T, k)
    for (const Sublayer& sublayer : sublayers) x = sublayer.forward(x);
    if (!on_progress) continue;
    const double seconds = clock.seconds(), passed = static_cast<double>(done);
    on_progress({.phase = "inputs",
                 .step = done,
                 .steps = N,
                 .tokens_per_second = passed * static_cast<double>(tokens.size(1)) / seconds,
                 .seconds = seconds,
                 .eta = seconds * static_cast<double>(N - done) / passed});
  }
  check_finite(moments);
  return moments;
}

}  // namespace slice
