// The device side of detail/decode_plan.h: one decoding step as a CUDA graph. Up to kFewSequences
// run on our own kernels, five a layer; more run their products on cuBLAS.

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <functional>
#include <map>
#include <optional>

#include "cuda/decode_attention.h"
#include "cuda/decode_linear.h"
#include "cuda/next_token.h"
#include "cuda/sample_token.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decode_linear.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/sample.h"
#include "libslice/decode/detail/wide_layer.h"
#include "libslice/decode/sampling.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

using at::Tensor;
using kernels::Epilogue;
using ops::on_device::add_shortcut;
using ops::on_device::check;
using ops::on_device::current_stream;
using ops::on_device::data_type;
using ops::on_device::epilogue_of;
using ops::on_device::launch;
using ops::on_device::pointer;
using ops::on_device::read_normed;
using ops::on_device::skinny;

namespace {

/// Past them cuBLAS is the faster where a layer is wide (docs/results/decode.csv, shortcut.csv).
constexpr int64_t kFewSequences = 8;
static_assert(kFewSequences <= kernels::kSkinnyRows);

/// Runs `body` on a stream of LibTorch's pool, which a capture needs, between what the current
/// stream did and what it will do.
void on_side_stream(const std::function<void()>& body) {
  const c10::cuda::CUDAStream outer = c10::cuda::getCurrentCUDAStream();
  const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();
  check(cudaStreamSynchronize(outer.stream()), "cudaStreamSynchronize");
  {
    const c10::cuda::CUDAStreamGuard guard(side);
    body();
  }
  check(cudaStreamSynchronize(side.stream()), "cudaStreamSynchronize");
}

/// Where a step takes its tokens from: what was written down for it, the largest logits, or chance.
enum class Choice { kGiven, kGreedy, kDrawn };

class CudaDecodePlan final : public DecodePlan {
 public:
  CudaDecodePlan(const DecoderImpl& decoder, const KvCache& cache)
      : cache_(cache), model_(decoder, cache.capacity()) {
    const auto options = model_.embedding.options();
    const auto bytes = options.dtype(at::kByte);
    const int64_t B = cache.batch();
    x_ = at::empty({B, model_.embedding.size(1)}, options);
    logits_ = at::zeros({B, model_.head.weight.size(0)}, options);
    history_ = at::zeros({B, cache.capacity()}, options.dtype(at::kLong));
    positions_ = at::zeros({B}, options.dtype(at::kInt));
    choice_ = at::zeros({static_cast<int64_t>(kernels::next_token_workspace_bytes(B))}, bytes);
    draws_ = at::empty({B, static_cast<int64_t>(sizeof(kernels::TokenDraw))}, bytes);
    set_draws(0, B, {}, 0);  // rows that nobody entered draw, too
    prepare_attention(options);
  }

  const Tensor& feed(const Tensor& tokens, int64_t position) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    stand_at(position);
    history_.select(1, position).copy_(tokens);
    run(Choice::kGiven, cache_.batch());
    next_ = position + 1;
    return logits_;
  }

  Tensor continue_greedy(const Tensor& logits, int64_t n, int64_t position) override {
    const c10::cuda::CUDAGuard guard(model_.embedding.device());
    return continue_by(Choice::kGreedy, logits, n, position);
  }

  Tensor continue_drawn(const Tensor& logits, int64_t n, int64_t position,
                        const SamplingOptions& sampling, uint64_t seed) override {
    const c10::cuda::CUDAGuard guard(model_.embedding.device());
    set_draws(0, cache_.batch(), sampling, seed);
    return continue_by(Choice::kDrawn, logits, n, position);
  }

  void enter(int64_t b, const Tensor& logits, const SamplingOptions& sampling,
             uint64_t seed) override {
    const c10::cuda::CUDAGuard guard(model_.embedding.device());
    logits_[b].copy_(logits);
    set_draws(b, b + 1, sampling, seed);
  }

  Tensor continue_rows(const std::vector<int32_t>& positions, int64_t n) override {
    const c10::cuda::CUDAGuard guard(model_.embedding.device());
    const auto rows = static_cast<int64_t>(positions.size());
    const Tensor here = positions_.narrow(0, 0, rows);
    const Tensor before = at::tensor(positions, at::kInt) - 1;  // a step counts up
    here.copy_(before, /*non_blocking=*/true);
    next_ = -1;
    for (int64_t i = 0; i < n; ++i) run(Choice::kDrawn, rows);
    const Tensor places =
        here.to(at::kLong).unsqueeze(1) + at::arange(1 - n, 1, history_.options());  // (rows, n)
    return history_.narrow(0, 0, rows).gather(1, places);
  }

  const Tensor& logits() const override { return logits_; }
  const DecodeModel& model() const override { return model_; }

 private:
  /// What a number of rows, the first so many, has of its own.
  struct Rows {
    kernels::DecodeAttention attention;
    Tensor partials;
    std::array<std::unique_ptr<at::cuda::CUDAGraph>, 3> graphs;  // one a Choice
  };

  /// Rows [begin, end) are drawn as sequences 0, 1, … of `seed`.
  void set_draws(int64_t begin, int64_t end, const SamplingOptions& sampling, uint64_t seed) {
    const DrawScale scale = draw_scale(sampling.temperature, sampling.top_p);
    std::vector<kernels::TokenDraw> draws;
    for (int64_t b = begin; b < end; ++b)
      draws.push_back({seed, static_cast<uint64_t>(b - begin), scale.top_p, scale.steps});
    const Tensor target = draws_.slice(0, begin, end);
    // Of memory that is not pinned the driver takes a copy before it returns.
    target.copy_(at::from_blob(draws.data(), target.sizes(), at::kByte), /*non_blocking=*/true);
  }

  Tensor continue_by(Choice choice, const Tensor& logits, int64_t n, int64_t position) {
    if (!logits.is_same(logits_)) logits_.copy_(logits);
    stand_at(position);
    for (int64_t i = 0; i < n; ++i) run(choice, cache_.batch());
    next_ = position + n;
    return history_.slice(1, position, position + n).clone();  // (B, n)
  }

  void prepare_attention(const at::TensorOptions& options) {
    const ModelConfig& config = model_.config;
    attention_.type = data_type(options.dtype().toScalarType());
    attention_.heads = config.heads;
    attention_.kv_heads = config.kv_heads;
    attention_.head_size = config.head_size;
    attention_.capacity = cache_.capacity();
    attention_.positions = positions_.const_data_ptr<int32_t>();
    attention_.rotary_size = model_.rotary_size;
    if (model_.rotary_size > 0) {
      attention_.cosine = model_.cosine.const_data_ptr<float>();
      attention_.sine = model_.sine.const_data_ptr<float>();
    }
  }

  Rows& rows_of(int64_t rows) {
    if (const auto found = rows_.find(rows); found != rows_.end()) return found->second;
    Rows made{attention_, {}, {}};
    made.attention.batch = rows;
    made.attention.splits = kernels::decode_attention_splits(
        rows, model_.config.kv_heads, cache_.capacity(),
        at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
    const size_t bytes = kernels::decode_attention_workspace_bytes(made.attention);
    made.partials =
        at::zeros({static_cast<int64_t>(bytes)}, model_.embedding.options().dtype(at::kByte));
    made.attention.workspace = made.partials.mutable_data_ptr();
    return rows_.emplace(rows, std::move(made)).first->second;
  }

  /// Makes `position` the next one on the device.
  void stand_at(int64_t position) {
    if (next_ != position) positions_.fill_(position - 1);
    next_ = position;
  }

  /// One step of the first `rows` rows at their next positions. The first time its graph is
  /// captured, behind a run that loads the kernels and cuBLAS, which a capture may not.
  void run(Choice choice, int64_t rows) {
    auto& graph = rows_of(rows).graphs[static_cast<size_t>(choice)];
    if (!graph) {
      const Tensor position = positions_.clone(), logits = logits_.clone();
      try {
        on_side_stream([&] {
          step(choice, rows);
          positions_.copy_(position);
          logits_.copy_(logits);
          check(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
          graph = captured(choice, rows);
        });
      } catch (...) {
        next_ = -1;  // nobody knows where the device stands
        throw;
      }
    }
    graph->replay();
  }

  /// A step as a graph; a throw ends the capture.
  std::unique_ptr<at::cuda::CUDAGraph> captured(Choice choice, int64_t rows) {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      step(choice, rows);
    } catch (...) {
      try {
        graph->capture_end();
      } catch (const c10::Error&) {  // of the broken capture; the first error says more
      }
      throw;
    }
    graph->capture_end();
    return graph;
  }

  void step(Choice choice, int64_t rows) {
    const at::NoGradGuard no_grad;
    next_token(choice, rows);
    const bool is_skinny = rows <= kFewSequences;
    Tensor x = x_.narrow(0, 0, rows);            // (rows, k_0)
    Tensor logits = logits_.narrow(0, 0, rows);  // (rows, V)
    int64_t layer = 0;
    for (const DecodeSublayer& s : model_.sublayers) {
      x = is_skinny
              ? skinny_sublayer(s, x, layer)
              : wide_sublayer(model_, s, x, [&](const Tensor& qkv) { return attend(qkv, layer); });
      layer += s.branches[0].attention ? 1 : 0;
    }
    if (!is_skinny) {
      logits.copy_(
          at::linear(wide_norm(model_.final_norm, x), model_.head.weight, model_.head.bias));
      return;
    }
    kernels::SkinnyLinear head = skinny(x, model_.head.weight, model_.head.bias);
    const Tensor read = read_normed(head, x, model_.final_norm);
    launch(head, logits);
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
    if (choice != Choice::kDrawn) {
      check(kernels::next_token(next, current_stream()), "next_token");
      return;
    }
    const auto* draws = static_cast<const kernels::TokenDraw*>(pointer(draws_));
    check(kernels::draw_token(next, draws, current_stream()), "draw_token");
  }

  /// qkv (B, (h + 2·kv)·d) → (B, h·d)
  Tensor attend(const Tensor& qkv, int64_t layer) {
    Tensor out =
        at::empty({qkv.size(0), model_.config.heads * model_.config.head_size}, qkv.options());
    kernels::DecodeAttention attention = rows_.at(qkv.size(0)).attention;
    attention.out = out.mutable_data_ptr();
    attention.qkv = pointer(qkv);
    attention.keys = cache_.keys(layer).mutable_data_ptr();
    attention.values = cache_.values(layer).mutable_data_ptr();
    attention.window = model_.window(layer);
    check(kernels::decode_attention(attention, current_stream()), "decode_attention");
    return out;
  }

  /// x (B, k_a) → the stream behind the sublayer, (B, k_b)
  Tensor skinny_sublayer(const DecodeSublayer& s, const Tensor& x, int64_t layer) {
    Tensor y;
    for (const DecodeBranch& branch : s.branches) {
      kernels::SkinnyLinear readers = skinny(x, branch.readers, branch.readers_bias);
      const Tensor read = read_normed(readers, x, s.norm);
      const auto epilogue =
          branch.attention ? std::nullopt : epilogue_of(model_.config.activation, branch.gated);
      readers.epilogue = epilogue.value_or(Epilogue::kNone);
      Tensor hidden = launch(readers, x);
      if (branch.attention) {
        hidden = attend(hidden, layer);
      } else if (!epilogue) {
        hidden = model_.activated(hidden, branch.gated);
      }
      kernels::SkinnyLinear writer = skinny(hidden, branch.writer, branch.writer_bias);
      if (y.defined()) {  // of a parallel block: the second writer adds to what the first wrote
        writer.R = pointer(y);
        writer.r_row_stride = y.stride(0);
        writer.residual_columns = y.size(1);
        launch(writer, y);
      } else {
        const Tensor shortcut = add_shortcut(writer, x, s.shortcut);
        y = launch(writer, x);
      }
    }
    return y;
  }

  const KvCache& cache_;
  const DecodeModel model_;
  kernels::DecodeAttention attention_;  // what it is for any number of rows
  int64_t next_ = -1;                   // position the device stands in front of
  Tensor x_, logits_, history_, positions_, choice_, draws_;
  std::map<int64_t, Rows> rows_;
};

}  // namespace

std::unique_ptr<DecodePlan> make_decode_plan(const DecoderImpl& decoder, const KvCache& cache) {
  if (!decoder.device().is_cuda() || decoder.dtype() == at::kDouble ||
      decoder.config().head_size > kernels::kDecodeHeadSize || decoder.config().maps_head()) {
    return nullptr;
  }
  const c10::cuda::CUDAGuard guard(decoder.device());
  const at::NoGradGuard no_grad;
  return std::make_unique<CudaDecodePlan>(decoder, cache);
}

}  // namespace slice::detail
