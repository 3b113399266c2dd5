#include "libslice/evaluate/self_windows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/generator.h"
#include "libslice/decode/memory.h"
#include "libslice/evaluate/perplexity.h"
#include "libslice/model/decoder.h"

namespace slice {

using at::Tensor;

namespace {

constexpr int64_t kSpareShare = 8;   // of the windows asked for, that many more are written
constexpr int64_t kMostRows = 128;   // of a batch
constexpr int64_t kStepTokens = 32;  // between two words to the caller

/// Windows that are written together.
int64_t batch_rows(const DecoderImpl& decoder, int64_t context) {
  const auto element_bytes = static_cast<int64_t>(at::elementSize(decoder.dtype()));
  const int64_t bytes = cache_bytes(decoder.config(), element_bytes, context, /*batch=*/1),
                room = decoder.device().is_cuda() ? int64_t{2} << 30 : int64_t{1} << 28;
  return std::clamp<int64_t>(room / bytes, 1, kMostRows);
}

/// Readers that are views of a matrix with others between their rows get memory of their own.
void part_weights(const DecoderImpl& decoder) {
  for (auto& parameter : decoder.named_parameters())
    if (!parameter.value().is_contiguous()) parameter.value().set_data(parameter->contiguous());
}

/// rows windows (rows, context). @param passed  told of tokens written
Tensor write_batch(const Model& model, int64_t rows, int64_t context, int64_t begin, uint64_t seed,
                   const std::function<void(int64_t tokens)>& passed) {
  Generator generator(model, context, rows);
  std::vector<Tensor> written = {at::full({rows, 1}, begin, at::kLong)};
  generator.feed(written.front());
  passed(rows);
  for (int64_t left = context - 1; left > 0;) {
    const int64_t n = std::min(left, kStepTokens);
    written.push_back(generator.continue_sampled(n, {.temperature = 1}, seed).cpu());
    left -= n;
    passed(rows * n);
  }
  return at::cat(written, 1);
}

/// The `count` windows that the model finds likeliest, in their order.
Tensor likeliest(const Model& model, const Tensor& windows, int64_t count) {
  std::vector<double> losses;
  for (int64_t i = 0; i < windows.size(0); ++i)
    losses.push_back(-score_windows(model, windows.slice(0, i, i + 1)).log_likelihood);
  const Tensor order = at::tensor(losses, at::kDouble).argsort(/*stable=*/true, 0, false);
  return windows.index_select(0, std::get<0>(order.slice(0, 0, count).sort()));
}

}  // namespace

Tensor self_windows(const Model& model, int64_t count, int64_t context, int64_t begin,
                    uint64_t seed, const OnProgress& on_progress) {
  const DecoderImpl& decoder = model.decoder();
  SLICE_ARGUMENT_CHECK(count >= 1 && context >= 2,
                       "a model's own text: want at least 1 window of 2 tokens, got {} of {}",
                       count, context);
  decoder.check_positions(context);
  const at::NoGradGuard no_grad;
  const detail::Stopwatch clock;
  const int64_t all = count + std::max<int64_t>(1, count / kSpareShare), total = all * context;
  int64_t done = 0;
  const auto passed = [&](int64_t tokens) {
    done += tokens;
    if (!on_progress) return;
    const double seconds = clock.seconds(), share = static_cast<double>(done) / double(total);
    on_progress({.phase = "writing",
                 .step = done / context,
                 .steps = all,
                 .tokens_per_second = static_cast<double>(done) / seconds,
                 .seconds = seconds,
                 .eta = seconds / share * (1 - share)});
  };
  std::vector<Tensor> batches;
  const int64_t most = batch_rows(decoder, context);
  for (int64_t first = 0; first < all; first += most)
    batches.push_back(write_batch(model, std::min(most, all - first), context, begin,
                                  seed + static_cast<uint64_t>(first), passed));
  part_weights(decoder);
  return likeliest(model, at::cat(batches), count);
}

}  // namespace slice
