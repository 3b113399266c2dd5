// The device side of detail/decode_plan.h: one decoding step as a CUDA graph. Up to kFewSequences
// run on our own kernels, five a layer; more run their products on cuBLAS.

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>

#include "cuda/decode_attention.h"
#include "cuda/draw_token.h"
#include "cuda/sample.h"
#include "cuda/skinny_linear.h"
#include "libslice/decoder.h"
#include "libslice/detail/cuda_status.h"
#include "libslice/detail/decode_plan.h"
#include "libslice/detail/decode_weights.h"
#include "libslice/detail/draw.h"
#include "libslice/sampling.h"

namespace slice::detail {

using at::Tensor;
using kernels::Epilogue;
using ops::on_device::check;

namespace {

/// Past them cuBLAS is the faster where a layer is wide (docs/results/decode.csv, shortcut.csv).
constexpr int64_t kFewSequences = 8;
static_assert(kFewSequences <= kernels::kSkinnyRows);

kernels::DataType data_type(at::ScalarType dtype) {
  return dtype == at::kHalf       ? kernels::DataType::kFloat16
         : dtype == at::kBFloat16 ? kernels::DataType::kBFloat16
                                  : kernels::DataType::kFloat32;
}

cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

const void* pointer(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}

/// The epilogue of an MLP's readers, where a kernel has it.
std::optional<Epilogue> epilogue_of(Activation activation, bool gated) {
  if (gated)
    return activation == Activation::kSilu ? std::optional(Epilogue::kGatedSilu) : std::nullopt;
  switch (activation) {
    case Activation::kRelu:
      return Epilogue::kRelu;
    case Activation::kGelu:
      return Epilogue::kGelu;
    case Activation::kGeluTanh:
      return Epilogue::kGeluTanh;
    default:
      return std::nullopt;
  }
}

/// What a SkinnyLinear of these operands has in common with every other: X (B, K), W (N, K).
kernels::SkinnyLinear skinny(const Tensor& X, const Tensor& W, const Tensor& bias) {
  kernels::SkinnyLinear layer;
  layer.X = pointer(X);
  layer.W = pointer(W);
  layer.bias = pointer(bias);
  layer.type = data_type(X.scalar_type());
  layer.M = X.size(0);
  layer.N = W.size(0);
  layer.K = W.size(1);
  layer.x_row_stride = X.stride(0);
  return layer;
}

void launch(kernels::SkinnyLinear layer, Tensor& Y) {
  layer.Y = Y.mutable_data_ptr();
  layer.y_row_stride = Y.stride(0);
  check(kernels::skinny_linear(layer, current_stream()), "skinny_linear");
}

Tensor launch(const kernels::SkinnyLinear& layer, const Tensor& like) {
  const bool gated = layer.epilogue == Epilogue::kGatedSilu;
  Tensor Y = at::empty({layer.M, gated ? layer.N / 2 : layer.N}, like.options());
  launch(layer, Y);
  return Y;
}

/// The norm in front of a layer: into the layer where it is a root mean square, else by itself.
/// @return  what the layer reads
Tensor read_normed(kernels::SkinnyLinear& layer, const Tensor& x, const Norm& norm) {
  if (norm->weighted() && norm->kind() == NormKind::kLayer) {
    const Tensor n = norm->forward(x);  // (B, k)
    layer.X = pointer(n);
    layer.x_row_stride = n.stride(0);
    return n;
  }
  layer.norm_hidden = norm->hidden_size();
  layer.eps = norm->eps();
  layer.norm_weight = pointer(norm->weight);
  return x;
}

/// Adds the shortcut's share to a writer of x (B, k_a).
/// @return  memory that the layer reads, to be kept until it is launched
Tensor add_shortcut(kernels::SkinnyLinear& layer, const Tensor& x, const Shortcut& shortcut) {
  const auto add_product = [&](const Tensor& Z, const Tensor& V) {
    layer.Z = pointer(Z);
    layer.V = pointer(V);
    layer.K2 = V.size(1);
    layer.z_row_stride = Z.stride(0);
  };
  if (shortcut->weight.defined() && shortcut->weight.dim() == 2) {
    add_product(x, shortcut->weight);
    return x;
  }
  layer.R = pointer(x);
  layer.r_row_stride = x.stride(0);
  layer.diagonal = pointer(shortcut->weight);
  layer.residual_columns =
      shortcut->weight.defined() ? shortcut->weight.size(0) : std::min(x.size(1), layer.N);
  if (!shortcut->up.defined()) return x;
  const Tensor low = launch(skinny(x, shortcut->down, {}), x);  // (B, R)
  add_product(low, shortcut->up);
  return low;
}

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
      : decoder_(decoder), cache_(cache), config_(decoder.config()) {
    const ModelAdapter adapter = decoder.adapter();
    sublayers_ = lay_out_for_decoding(adapter);
    final_norm_ = adapter.final_norm;
    head_ = adapter.head;
    embedding_ = adapter.embeddings[0].weight;
    const auto options = embedding_.options();
    const auto bytes = options.dtype(at::kByte);
    const int64_t B = cache.batch();
    x_ = at::empty({B, embedding_.size(1)}, options);
    logits_ = at::zeros({B, head_.weight.size(0)}, options);
    history_ = at::zeros({B, cache.capacity()}, options.dtype(at::kLong));
    positions_ = at::zeros({B}, options.dtype(at::kInt));
    choice_ = at::zeros({static_cast<int64_t>(kernels::next_token_workspace_bytes(B))}, bytes);
    draws_ = at::empty({B, static_cast<int64_t>(sizeof(kernels::TokenDraw))}, bytes);
    set_draws(0, B, {}, 0);  // rows that nobody entered draw, too
    prepare_attention(options);
  }

  const Tensor& feed(const Tensor& tokens, int64_t position) override {
    const c10::cuda::CUDAGuard guard(embedding_.device());
    stand_at(position);
    history_.select(1, position).copy_(tokens);
    run(Choice::kGiven, cache_.batch());
    next_ = position + 1;
    return logits_;
  }

  Tensor continue_greedy(const Tensor& logits, int64_t n, int64_t position) override {
    const c10::cuda::CUDAGuard guard(embedding_.device());
    return continue_by(Choice::kGreedy, logits, n, position);
  }

  Tensor continue_drawn(const Tensor& logits, int64_t n, int64_t position,
                        const SamplingOptions& sampling, uint64_t seed) override {
    const c10::cuda::CUDAGuard guard(embedding_.device());
    set_draws(0, cache_.batch(), sampling, seed);
    return continue_by(Choice::kDrawn, logits, n, position);
  }

  void enter(int64_t b, const Tensor& logits, const SamplingOptions& sampling,
             uint64_t seed) override {
    const c10::cuda::CUDAGuard guard(embedding_.device());
    logits_[b].copy_(logits);
    set_draws(b, b + 1, sampling, seed);
  }

  Tensor continue_rows(const std::vector<int32_t>& positions, int64_t n) override {
    const c10::cuda::CUDAGuard guard(embedding_.device());
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
    const auto wide = options.dtype(at::kDouble);
    const int64_t turning =
        config_.learned_positions > 0 ? 0 : config_.rotary_size.value_or(config_.head_size);
    attention_.type = data_type(options.dtype().toScalarType());
    attention_.heads = config_.heads;
    attention_.kv_heads = config_.kv_heads;
    attention_.head_size = config_.head_size;
    attention_.capacity = cache_.capacity();
    attention_.positions = positions_.const_data_ptr<int32_t>();
    if (turning > 0) {
      const Rotary rotary(turning, config_.rope_theta, config_.rope_scaling);
      const Tensor angles =
          at::outer(at::arange(cache_.capacity(), wide),
                    at::tensor(rotary.frequencies(), at::kDouble).to(options.device()));
      cosine_ = angles.cos().to(at::kFloat);  // (capacity, r/2)
      sine_ = angles.sin().to(at::kFloat);
      attention_.rotary_size = turning;
      attention_.cosine = cosine_.const_data_ptr<float>();
      attention_.sine = sine_.const_data_ptr<float>();
    }
  }

  Rows& rows_of(int64_t rows) {
    if (const auto found = rows_.find(rows); found != rows_.end()) return found->second;
    Rows made{attention_, {}, {}};
    made.attention.batch = rows;
    made.attention.splits = kernels::decode_attention_splits(
        rows, config_.kv_heads, cache_.capacity(),
        at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
    const size_t bytes = kernels::decode_attention_workspace_bytes(made.attention);
    made.partials = at::zeros({static_cast<int64_t>(bytes)}, embedding_.options().dtype(at::kByte));
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
    for (const DecodeSublayer& s : sublayers_) {
      x = is_skinny ? skinny_sublayer(s, x, layer) : wide_sublayer(s, x, layer);
      layer += s.inner[0].attention ? 1 : 0;
    }
    if (!is_skinny) {
      logits.copy_(at::linear(final_norm_->forward(x), head_.weight, head_.bias));
      return;
    }
    kernels::SkinnyLinear head = skinny(x, head_.weight, head_.bias);
    const Tensor read = read_normed(head, x, final_norm_);
    launch(head, logits);
  }

  void next_token(Choice choice, int64_t rows) {
    const Tensor position_rows = decoder_.position_rows();
    kernels::NextToken next;
    next.x = x_.mutable_data_ptr();
    next.history = history_.mutable_data_ptr<int64_t>();
    next.positions = positions_.mutable_data_ptr<int32_t>();
    next.logits = choice == Choice::kGiven ? nullptr : pointer(logits_);
    next.embedding = pointer(embedding_);
    next.position_rows = pointer(position_rows);
    next.workspace = choice_.mutable_data_ptr();
    next.type = data_type(x_.scalar_type());
    next.batch = rows;
    next.vocabulary = logits_.size(1);
    next.width = x_.size(1);
    next.capacity = cache_.capacity();
    next.position_offset = config_.position_offset;
    if (choice != Choice::kDrawn) {
      check(kernels::next_token(next, current_stream()), "next_token");
      return;
    }
    const auto* draws = static_cast<const kernels::TokenDraw*>(pointer(draws_));
    check(kernels::draw_token(next, draws, current_stream()), "draw_token");
  }

  /// qkv (B, (h + 2·kv)·d) → (B, h·d)
  Tensor attend(const Tensor& qkv, int64_t layer) {
    Tensor out = at::empty({qkv.size(0), config_.heads * config_.head_size}, qkv.options());
    kernels::DecodeAttention attention = rows_.at(qkv.size(0)).attention;
    attention.out = out.mutable_data_ptr();
    attention.qkv = pointer(qkv);
    attention.keys = cache_.keys(layer).mutable_data_ptr();
    attention.values = cache_.values(layer).mutable_data_ptr();
    if (layer >= config_.first_window_layer) attention.window = config_.sliding_window.value_or(0);
    check(kernels::decode_attention(attention, current_stream()), "decode_attention");
    return out;
  }

  /// What the readers gave (B, rows) → what the writer reads, (B, F).
  Tensor activated(const Tensor& read, bool gated) const {
    if (!gated) return activate(config_.activation, read);
    const Tensor pairs = read.view({read.size(0), -1, 2});  // (B, F, 2)
    return activate(config_.activation, pairs.select(2, 0)) * pairs.select(2, 1);
  }

  /// x (B, k_a) → the stream behind the sublayer, (B, k_b)
  Tensor skinny_sublayer(const DecodeSublayer& s, const Tensor& x, int64_t layer) {
    Tensor y;
    for (const DecodeInner& inner : s.inner) {
      kernels::SkinnyLinear readers = skinny(x, inner.readers, inner.readers_bias);
      const Tensor read = read_normed(readers, x, s.norm);
      const auto epilogue =
          inner.attention ? std::nullopt : epilogue_of(config_.activation, inner.gated);
      readers.epilogue = epilogue.value_or(Epilogue::kNone);
      Tensor hidden = launch(readers, x);
      if (inner.attention) {
        hidden = attend(hidden, layer);
      } else if (!epilogue) {
        hidden = activated(hidden, inner.gated);
      }
      kernels::SkinnyLinear writer = skinny(hidden, inner.writer, inner.writer_bias);
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

  Tensor wide_sublayer(const DecodeSublayer& s, const Tensor& x, int64_t layer) {
    const Tensor normed = s.norm->forward(x);  // (B, k_a)
    Tensor y;
    for (const DecodeInner& inner : s.inner) {
      const Tensor read = at::linear(normed, inner.readers, inner.readers_bias);
      const Tensor hidden = inner.attention ? attend(read, layer) : activated(read, inner.gated);
      const Tensor written = at::linear(hidden, inner.writer, inner.writer_bias);  // (B, k_b)
      y = y.defined() ? y + written : written;
    }
    return s.shortcut->forward(x, y);
  }

  const DecoderImpl& decoder_;
  const KvCache& cache_;
  const ModelConfig config_;
  std::vector<DecodeSublayer> sublayers_;
  Norm final_norm_{nullptr};
  LinearRef head_;
  kernels::DecodeAttention attention_;  // what it is for any number of rows
  int64_t next_ = -1;                   // position the device stands in front of
  Tensor embedding_, x_, logits_, history_, positions_, choice_, draws_, cosine_, sine_;
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
