// The device side of detail/decode_plan.h: one decoding step as a CUDA graph. Up to kFewSequences
// run on our own kernels, five a layer; more run their products on cuBLAS.

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <functional>

#include "cuda/decode_attention.h"
#include "cuda/sample.h"
#include "cuda/skinny_linear.h"
#include "libslice/decoder.h"
#include "libslice/detail/cuda_arguments.h"
#include "libslice/detail/cuda_status.h"
#include "libslice/detail/decode_model.h"
#include "libslice/detail/decode_plan.h"
#include "libslice/detail/skinny_layer.h"
#include "libslice/detail/wide_layer.h"

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

class CudaDecodePlan final : public DecodePlan {
 public:
  CudaDecodePlan(const DecoderImpl& decoder, const KvCache& cache)
      : cache_(cache), model_(decoder, cache.capacity()) {
    const auto options = model_.embedding.options();
    const auto bytes = options.dtype(at::kByte);
    const int64_t B = cache.batch();
    x_ = at::empty({B, model_.embedding.size(1)}, options);
    logits_ = at::empty({B, model_.head.weight.size(0)}, options);
    history_ = at::zeros({B, cache.capacity()}, options.dtype(at::kLong));
    positions_ = at::zeros({B}, options.dtype(at::kInt));
    choice_ = at::zeros({static_cast<int64_t>(kernels::next_token_workspace_bytes(B))}, bytes);
    prepare_attention(options);
  }

  const Tensor& feed(const Tensor& tokens, int64_t position) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    stand_at(position);
    history_.select(1, position).copy_(tokens);
    run(given_, /*greedy=*/false);
    next_ = position + 1;
    return logits_;
  }

  Tensor continue_greedy(const Tensor& logits, int64_t n, int64_t position) override {
    const c10::cuda::CUDAGuard guard(x_.device());
    if (!logits.is_same(logits_)) logits_.copy_(logits);
    stand_at(position);
    for (int64_t i = 0; i < n; ++i) run(greedy_, /*greedy=*/true);
    next_ = position + n;
    return history_.slice(1, position, position + n).clone();  // (B, n)
  }

  const Tensor& logits() const override { return logits_; }
  const DecodeModel& model() const override { return model_; }

 private:
  void prepare_attention(const at::TensorOptions& options) {
    const ModelConfig& config = model_.config;
    attention_.type = data_type(options.dtype().toScalarType());
    attention_.batch = cache_.batch();
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
    attention_.splits = kernels::decode_attention_splits(
        cache_.batch(), config.kv_heads, cache_.capacity(),
        at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
    partials_ =
        at::zeros({static_cast<int64_t>(kernels::decode_attention_workspace_bytes(attention_))},
                  options.dtype(at::kByte));
    attention_.workspace = partials_.mutable_data_ptr();
  }

  /// Makes `position` the next one on the device.
  void stand_at(int64_t position) {
    if (next_ != position) positions_.fill_(position - 1);
    next_ = position;
  }

  /// One step at the next position. The first time its graph is captured, behind a run that loads
  /// the kernels and cuBLAS, which a capture may not.
  void run(std::unique_ptr<at::cuda::CUDAGraph>& graph, bool greedy) {
    if (!graph) {
      const Tensor position = positions_.clone(), logits = logits_.clone();
      try {
        on_side_stream([&] {
          step(greedy);
          positions_.copy_(position);
          logits_.copy_(logits);
          check(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
          graph = captured(greedy);
        });
      } catch (...) {
        next_ = -1;  // nobody knows where the device stands
        throw;
      }
    }
    graph->replay();
  }

  /// A step as a graph; a throw ends the capture.
  std::unique_ptr<at::cuda::CUDAGraph> captured(bool greedy) {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      step(greedy);
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

  void step(bool greedy) {
    const at::NoGradGuard no_grad;
    next_token(greedy);
    Tensor x = x_;  // (B, k_0)
    int64_t layer = 0;
    for (const DecodeSublayer& s : model_.sublayers) {
      x = is_skinny()
              ? skinny_sublayer(s, x, layer)
              : wide_sublayer(model_, s, x, [&](const Tensor& qkv) { return attend(qkv, layer); });
      layer += s.inner[0].attention ? 1 : 0;
    }
    if (!is_skinny()) {
      logits_.copy_(
          at::linear(wide_norm(model_.final_norm, x), model_.head.weight, model_.head.bias));
      return;
    }
    kernels::SkinnyLinear head = skinny(x, model_.head.weight, model_.head.bias);
    const Tensor read = read_normed(head, x, model_.final_norm);
    launch(head, logits_);
  }

  bool is_skinny() const { return cache_.batch() <= kFewSequences; }

  void next_token(bool greedy) {
    const Tensor rows = model_.decoder.position_rows();
    kernels::NextToken next;
    next.x = x_.mutable_data_ptr();
    next.history = history_.mutable_data_ptr<int64_t>();
    next.positions = positions_.mutable_data_ptr<int32_t>();
    next.logits = greedy ? pointer(logits_) : nullptr;
    next.embedding = pointer(model_.embedding);
    next.position_rows = pointer(rows);
    next.workspace = choice_.mutable_data_ptr();
    next.type = data_type(x_.scalar_type());
    next.batch = cache_.batch();
    next.vocabulary = logits_.size(1);
    next.width = x_.size(1);
    next.capacity = cache_.capacity();
    next.position_offset = model_.config.position_offset;
    check(kernels::next_token(next, current_stream()), "next_token");
  }

  /// qkv (B, (h + 2·kv)·d) → (B, h·d)
  Tensor attend(const Tensor& qkv, int64_t layer) {
    Tensor out =
        at::empty({qkv.size(0), model_.config.heads * model_.config.head_size}, qkv.options());
    kernels::DecodeAttention attention = attention_;
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
    for (const DecodeInner& inner : s.inner) {
      kernels::SkinnyLinear readers = skinny(x, inner.readers, inner.readers_bias);
      const Tensor read = read_normed(readers, x, s.norm);
      const auto epilogue =
          inner.attention ? std::nullopt : epilogue_of(model_.config.activation, inner.gated);
      readers.epilogue = epilogue.value_or(Epilogue::kNone);
      Tensor hidden = launch(readers, x);
      if (inner.attention) {
        hidden = attend(hidden, layer);
      } else if (!epilogue) {
        hidden = model_.activated(hidden, inner.gated);
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

  const KvCache& cache_;
  const DecodeModel model_;
  kernels::DecodeAttention attention_;
  int64_t next_ = -1;  // position the device stands in front of
  Tensor x_, logits_, history_, positions_, choice_, partials_;
  std::unique_ptr<at::cuda::CUDAGraph> given_, greedy_;
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
