// The device side of detail/decode_graph.h: one decoding step as a CUDA graph. A few rows run on our
// own kernels, five a layer; more run their products on cuBLAS.

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <array>
#include <map>

#include "cuda/decode_linear.h"
#include "cuda/next_token.h"
#include "cuda/sample_token.h"
#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/capture.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/few_rows_layer.h"
#include "libslice/decode/detail/graph_attention.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/detail/prefill_rows.h"
#include "libslice/decode/detail/sample.h"
#include "libslice/decode/detail/step_kernels.h"
#include "libslice/decode/generator.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

using at::Tensor;
using ops::on_device::check;
using ops::on_device::current_stream;
using ops::on_device::data_type;
using ops::on_device::pointer;

namespace {

/// Where a step takes its tokens from: what the history has for it, the largest logits, or chance.
enum class Choice { kGiven, kGreedy, kSampled };

class CudaDecodeGraph final : public Decoding, public RowDecoding {
 public:
  /// @param together  whether a step is one kernel where that runs it; a row has other bits then
  CudaDecodeGraph(const DecoderImpl& decoder, KvCache& cache, const RankLink* link, bool together)
      : cache_(cache),
        model_(decoder, cache.capacity(), link),
        together_(together),
        attention_(model_, cache_, positions_) {
    const auto options = model_.embedding.options();
    const auto bytes = options.dtype(at::kByte);
    const int64_t B = cache.batch();
    x_ = at::empty({B, model_.embedding.size(1)}, options);
    logits_ = at::zeros({B, model_.vocabulary}, options);
    history_ = at::zeros({B, cache.capacity()}, options.dtype(at::kLong));
    positions_ = at::zeros({B}, options.dtype(at::kInt));
    choice_ = at::zeros({static_cast<int64_t>(kernels::next_token_workspace_bytes(B))}, bytes);
    samplings_ = at::empty({B, static_cast<int64_t>(sizeof(kernels::TokenSampling))}, bytes);
    set_samplings(0, B, {}, 0, 0);  // rows that were not entered sample, too
    few_rows_ = few_rows();
  }

  bool is_captured() const override { return true; }

  Tensor feed(const Tensor& tokens) override {
    const int64_t position = cache_.length(), T = tokens.size(1);
    model_.decoder.check_tokens(tokens, position);
    const c10::cuda::CUDAGuard guard(x_.device());
    Tensor logits;  // (B, V)
    if (T > 1) {
      logits = prefill(model_, cache_, tokens, position);
    } else {
      set_position(position);
      next_ = -1;  // where an error comes in between
      history_.select(1, position).copy_(tokens.select(1, 0));
      run(Choice::kGiven, cache_.batch());
      next_ = position + 1;
      logits = logits_.clone();
    }
    cache_.advance(T);
    return logits;
  }

  Tensor continue_inplace(Tensor& logits, int64_t n, const SamplingOptions& sampling, uint64_t seed,
                          uint64_t sequence) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    const int64_t position = cache_.length();
    const Choice choice = sampling.temperature == 0 ? Choice::kGreedy : Choice::kSampled;
    if (choice == Choice::kSampled) set_samplings(0, cache_.batch(), sampling, seed, sequence);
    logits_.copy_(logits);
    set_position(position);
    next_ = -1;  // where an error comes in between
    for (int64_t i = 0; i < n; ++i) run(choice, cache_.batch());
    next_ = position + n;
    const Tensor ids = history_.slice(1, position, position + n).clone();  // (B, n)
    logits = logits_.clone();
    cache_.advance(n);
    if ((ids < 0).any().item<bool>()) throw NumericError("logits: NaN");
    return ids;
  }

  int64_t positions() const override { return model_.decoder.positions(); }

  void enter(int64_t row, const std::vector<int64_t>& prompt,
             const GenerateOptions& options) override {
    model_.decoder.check_tokens(at::tensor(prompt, at::kLong).unsqueeze(0), /*first=*/0);
    const c10::cuda::CUDAGuard guard(x_.device());
    set_samplings(row, row + 1, options.sampling, options.seed, options.sequence);
  }

  void feed_row(int64_t row, int64_t position, std::span<const int64_t> tokens,
                const SeeLogits& see) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    const Tensor ids = at::tensor(at::IntArrayRef(tokens.data(), tokens.size()), at::kLong);  // (T)
    std::function<void(const Tensor&)> see_stream;
    if (see)
      see_stream = [&](const Tensor& x) { see_logits(model_.decoder, x[0], see); };  // x (1, T', k)
    logits_[row].copy_(prefill(model_, cache_.row(row), ids.unsqueeze(0), position, kPrefillTokens,
                               see_stream)[0]);
  }

  void feed_rows(const std::vector<PromptPiece>& pieces) override {
    if (pieces.size() == 1 || RotaryTables::depend_on_length(model_.config)) {
      RowDecoding::feed_rows(pieces);
      return;
    }
    const c10::cuda::CUDAGuard guard(x_.device());
    std::vector<int64_t> rows;
    for (const PromptPiece& piece : pieces) rows.push_back(piece.row);
    const Tensor logits = prefill_rows(model_, cache_, pieces);  // (pieces, V)
    logits_.index_copy_(0, at::tensor(rows, at::kLong).to(x_.device()),
                        logits.to(logits_.scalar_type()));
  }

  void take_prompt(int64_t row, int64_t /*length*/, const Tensor& logits) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    logits_[row].copy_(logits);
  }

  Tensor logits(int64_t row) override { return logits_[row]; }

  /// By a graph for all rows up to the last one, rounded up to a power of two. Of the others, those
  /// that wait write where the next piece of their prompt will, free ones at their beginning.
  std::vector<std::vector<int64_t>> continue_rows(const std::vector<DecodingRow>& rows,
                                                  const std::vector<DecodingRow>& waiting,
                                                  int64_t n) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    int64_t count = 1;
    while (count <= rows.back().row) count *= 2;
    count = std::min(count, cache_.batch());
    std::vector<int32_t> fed(count, -1);  // a step counts up
    for (const auto* some : {&rows, &waiting})
      for (const DecodingRow& row : *some)
        if (row.row < count) fed[row.row] = static_cast<int32_t>(row.position) - 1;
    const Tensor before = at::tensor(fed, at::kInt);
    const Tensor places = (before.to(at::kLong).unsqueeze(1) + at::arange(1, n + 1, at::kLong))
                              .to(x_.device());  // (count, n)
    SLICE_CHECK_AS(DeviceError, !lost_, "batch: the device failed, its texts cannot continue");
    // All memory is there before the first step, and what an error after it takes the rows back to.
    const Tensor logits = logits_.narrow(0, 0, count).clone();  // (count, V)
    Tensor ids = at::empty_like(places), host = at::empty(places.sizes(), at::kLong);
    positions_.narrow(0, 0, count).copy_(before, /*non_blocking=*/true);
    next_ = -1;
    try {
      for (int64_t i = 0; i < n; ++i) run(Choice::kSampled, count);
      at::gather_out(ids, history_.narrow(0, 0, count), 1, places);
      host.copy_(ids);
    } catch (...) {
      lost_ = true;  // unless the device still works
      logits_.narrow(0, 0, count).copy_(logits);
      check(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
      lost_ = false;
      throw;
    }
    std::vector<std::vector<int64_t>> result;
    for (const DecodingRow& row : rows) {
      const int64_t* first = host.const_data_ptr<int64_t>() + row.row * n;
      result.emplace_back(first, first + n);
    }
    return result;
  }

 private:
  /// The graphs of a number of rows, the first so many: one a Choice.
  using Rows = std::array<std::unique_ptr<at::cuda::CUDAGraph>, 3>;

  /// Rows [begin, end) are sampled as sequences `sequence`, `sequence` + 1, … of `seed`.
  void set_samplings(int64_t begin, int64_t end, const SamplingOptions& sampling, uint64_t seed,
                     uint64_t sequence) {
    const SampleScale scale = sample_scale(sampling.temperature, sampling.top_p);
    std::vector<kernels::TokenSampling> samplings;
    for (int64_t b = begin; b < end; ++b)
      samplings.push_back(
          {seed, sequence + static_cast<uint64_t>(b - begin), scale.top_p, scale.steps});
    const Tensor target = samplings_.slice(0, begin, end);
    // Of memory that is not pinned the driver takes a copy before it returns.
    target.copy_(at::from_blob(samplings.data(), target.sizes(), at::kByte), /*non_blocking=*/true);
  }

  /// Rows up to which our own products are the faster ones. Past 8 only where all rows of all weights
  /// are whole vectors.
  int64_t few_rows() const {
    constexpr int64_t kVector = 8;
    const auto whole = [](const Tensor& W) { return !W.defined() || W.size(-1) % kVector == 0; };
    for (const DecodeSublayer& s : model_.sublayers) {
      for (const DecodeBranch& branch : s.branches)
        if (!whole(branch.readers) || !whole(branch.writer)) return kVector;
      if (!whole(s.shortcut->weight) || !whole(s.shortcut->down) || !whole(s.shortcut->up))
        return kVector;
    }
    return kernels::decode_linear_fast_rows(data_type(x_.scalar_type()));
  }

  Rows& rows_of(int64_t rows) {
    if (const auto found = rows_.find(rows); found != rows_.end()) return found->second;
    attention_.prepare(rows);
    return rows_.emplace(rows, Rows()).first->second;
  }

  /// Makes `position` the next one on the device.
  void set_position(int64_t position) {
    if (next_ != position) positions_.fill_(position - 1);
    next_ = position;
  }

  /// One step of the first `rows` rows at their next positions. The first time its graph is
  /// captured.
  void run(Choice choice, int64_t rows) {
    auto& graph = rows_of(rows)[static_cast<size_t>(choice)];
    if (!graph) {
      const Tensor position = positions_.clone(), logits = logits_.clone();
      graph = captured([&] { step(choice, rows); },
                       [&] {
                         positions_.copy_(position);
                         logits_.copy_(logits);
                       });
    }
    graph->replay();
  }

  void step(Choice choice, int64_t rows) {
    const at::NoGradGuard no_grad;
    next_token(choice, rows);
    const bool few = rows <= few_rows_;
    StepKernels kernels =
        together_ ? StepKernels(workspaces_[static_cast<size_t>(choice)]) : StepKernels();
    Tensor x = x_.narrow(0, 0, rows);            // (rows, k_0)
    Tensor logits = logits_.narrow(0, 0, rows);  // (rows, V)
    int64_t layer = 0;
    const auto attend = [&](const Tensor& qkv) { return attention_(kernels, qkv, layer); };
    for (const DecodeSublayer& s : model_.sublayers) {
      x = few ? few_rows_sublayer(kernels, model_, s, x, attend)
              : many_rows_sublayer(model_, s, x, attend);
      layer += s.branches[0].attention ? 1 : 0;
    }
    if (few) {
      few_rows_logits(kernels, model_, x, logits);
    } else {
      many_rows_logits(model_, x, logits);
    }
  }

  void next_token(Choice choice, int64_t rows) {
    const Tensor position_rows = model_.decoder.position_rows();
    kernels::NextToken next;
    next.x = x_.mutable_data_ptr();
    next.history = history_.mutable_data_ptr<int64_t>();
    next.positions = positions_.mutable_data_ptr<int32_t>();
    next.logits = choice == Choice::kGiven ? nullptr : pointer(logits_);
    next.embedding = pointer(model_.embedding);
    next.position_rows = pointer(position_rows);
    next.workspace = choice_.mutable_data_ptr();
    next.type = data_type(x_.scalar_type());
    next.batch = rows;
    next.vocabulary = logits_.size(1);
    next.width = x_.size(1);
    next.capacity = cache_.capacity();
    next.position_offset = model_.config.position_offset;
    next.scale = model_.config.embedding_scale;
    if (choice != Choice::kSampled) {
      check(kernels::next_token(next, current_stream()), "next_token");
      return;
    }
    const auto* samplings = static_cast<const kernels::TokenSampling*>(pointer(samplings_));
    check(kernels::sample_token(next, samplings, current_stream()), "sample_token");
  }

  KvCache& cache_;
  const DecodeModel model_;
  const bool together_;
  std::array<Tensor, 3> workspaces_;  // of steps in one kernel, one a Choice
  int64_t next_ = -1;  // position of the next token, as the device has it; −1: unknown
  int64_t few_rows_ = 0;
  bool lost_ = false;  // the logits, to an error of the device
  Tensor x_, logits_, history_, positions_, choice_, samplings_;
  GraphAttention attention_;
  std::map<int64_t, Rows> rows_;
};

std::unique_ptr<CudaDecodeGraph> make_graph(const DecoderImpl& decoder, KvCache& cache,
                                            const RankLink* link, bool together) {
  if (!decoder.device().is_cuda() || decoder.dtype() == at::kDouble ||
      !decodes_captured(decoder.config())) {
    return nullptr;
  }
  const c10::cuda::CUDAGuard guard(decoder.device());
  const at::NoGradGuard no_grad;
  return std::make_unique<CudaDecodeGraph>(decoder, cache, link, together);
}

}  // namespace

std::unique_ptr<Decoding> make_decode_graph(const DecoderImpl& decoder, KvCache& cache,
                                            const RankLink* link) {
  // A rank's step is interrupted by other kernels twice a layer.
  return make_graph(decoder, cache, link, /*together=*/cache.batch() == 1 && link == nullptr);
}

std::unique_ptr<RowDecoding> make_row_graph(const DecoderImpl& decoder, KvCache& cache,
                                            const RankLink* link) {
  // A row's bits are those of any batch.
  return make_graph(decoder, cache, link, /*together=*/false);
}

}  // namespace slice::detail
