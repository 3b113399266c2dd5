// The device side of detail/graph_attention.h.

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>

#include "cuda/decode_attention.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/graph_attention.h"
#include "libslice/decode/detail/step_kernels.h"
#include "libslice/decode/detail/turn_heads.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

using at::Tensor;
using ops::on_device::check;
using ops::on_device::current_stream;
using ops::on_device::data_type;
using ops::on_device::pointer;

static_assert(kLargestDecodeHead == kernels::kDecodeHeadSize);

GraphAttention::GraphAttention(const DecodeModel& model, const KvCache& cache,
                               const Tensor& positions)
    : model_(model), cache_(cache), positions_(positions) {}

int64_t GraphAttention::splits(int64_t rows) const {
  return kernels::decode_attention_splits(
      rows, model_.config.kv_heads, cache_.capacity(),
      at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
}

void GraphAttention::prepare(int64_t rows) {
  kernels::DecodeAttention attention;
  attention.batch = rows;
  attention.heads = model_.config.heads;
  attention.head_size = model_.config.head_size;
  attention.splits = splits(rows);
  const auto bytes = static_cast<int64_t>(kernels::decode_attention_workspace_bytes(attention));
  workspaces_[rows] = at::zeros({bytes}, model_.embedding.options().dtype(at::kByte));
}

Tensor GraphAttention::operator()(StepKernels& kernels, const Tensor& qkv, int64_t layer) const {
  const ModelConfig& c = model_.config;
  const int64_t rows = qkv.size(0);
  Tensor out = at::empty({rows, c.heads * c.head_size}, qkv.options());
  kernels::DecodeAttention launch;
  launch.out = out.mutable_data_ptr();
  launch.qkv = pointer(qkv);
  launch.keys = cache_.keys(layer).mutable_data_ptr();
  launch.values = cache_.values(layer).mutable_data_ptr();
  launch.positions = positions_.const_data_ptr<int32_t>();
  launch.workspace = workspaces_.at(rows).mutable_data_ptr();
  launch.type = data_type(qkv.scalar_type());
  launch.batch = rows;
  launch.heads = c.heads;
  launch.kv_heads = c.kv_heads;
  launch.head_size = c.head_size;
  launch.capacity = cache_.capacity();
  launch.window = c.window(layer);
  launch.splits = splits(rows);
  launch.scale = c.attention_scale.value_or(0);
  launch.softcap = c.attention_softcap;
  const RotaryTable& table = model_.rotary.layer(layer);
  launch.rotary_size = table.rotary_size;
  if (table.rotary_size > 0) {
    launch.cosine = table.cosine.const_data_ptr<float>();
    launch.sine = table.sine.const_data_ptr<float>();
  }
  if (c.head_norm == HeadNorm::kEach) {
    const auto& [q_norm, k_norm] = model_.decoder.head_norms(layer);
    launch.q_norm = pointer(q_norm->weight);
    launch.k_norm = pointer(k_norm->weight);
    launch.norm_eps = q_norm->eps();
  } else if (c.head_norm != HeadNorm::kNone) {
    kernels.flush();
    norm_heads(model_, layer, qkv);
  }
  kernels.run(launch);
  return out;
}

}  // namespace slice::detail
