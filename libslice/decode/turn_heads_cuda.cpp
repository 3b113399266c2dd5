// The device side of detail/turn_heads.h.

#include <ATen/ATen.h>

#include "cuda/norm_heads.h"
#include "cuda/rotary_append.h"
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

void norm_heads(const DecodeModel& model, int64_t layer, const Tensor& qkv) {
  const ModelConfig& c = model.config;
  if (c.head_norm == HeadNorm::kNone) return;
  const auto& [q_norm, k_norm] = model.decoder.head_norms(layer);
  kernels::NormHeads norm;
  norm.qkv = qkv.mutable_data_ptr();
  norm.q_weight = pointer(q_norm->weight);
  norm.k_weight = pointer(k_norm->weight);
  norm.type = data_type(qkv.scalar_type());
  norm.rows = qkv.size(0);
  norm.heads = c.heads;
  norm.kv_heads = c.kv_heads;
  norm.head_size = c.head_size;
  norm.together = c.head_norm == HeadNorm::kAll;
  norm.eps = q_norm->eps();
  check(kernels::norm_heads(norm, current_stream()), "norm_heads");
}

void turn_heads(const DecodeModel& model, int64_t layer, const RotaryTable& table,
                const Tensor& qkv, const CacheRows& to) {
  norm_heads(model, layer, qkv);
  kernels::RotaryAppend append;
  append.qkv = qkv.mutable_data_ptr();
  append.keys = to.keys.mutable_data_ptr();
  append.values = to.values.mutable_data_ptr();
  append.type = data_type(qkv.scalar_type());
  append.batch = to.sequences;
  append.tokens = to.tokens;
  append.heads = model.config.heads;
  append.kv_heads = model.config.kv_heads;
  append.head_size = model.config.head_size;
  append.capacity = to.capacity;
  append.first = to.first;
  if (to.places.defined())
    append.places = static_cast<const kernels::TokenPlace*>(to.places.const_data_ptr());
  append.rotary_size = table.rotary_size;
  if (table.rotary_size > 0) {
    append.cosine = table.cosine.const_data_ptr<float>();
    append.sine = table.sine.const_data_ptr<float>();
  }
  check(kernels::rotary_append(append, current_stream()), "rotary_append");
}

}  // namespace slice::detail
