#pragma once

#include <ATen/core/Tensor.h>

#include "libslice/decode/detail/decode_model.h"

namespace slice::detail {

/// Where keys and values of some tokens go: those of `sequences` texts of `tokens` each.
struct CacheRows {
  at::Tensor keys, values;  ///< (sequences, kv, capacity, d), contiguous
  int64_t sequences = 1, tokens = 0, capacity = 0;
  int64_t first = 0;  ///< position of the first token
  /// (tokens, 2) int32, kernels::TokenPlace: unless undefined, each token's own sequence and
  /// position, with `sequences` 1; k is turned in the projection, too.
  at::Tensor places = {};
};

/// Norms the heads of q and k in the joint projection of a layer, in place, where they have norms.
/// @param qkv  (n, (h + 2·kv)·d), contiguous, on a CUDA device
void norm_heads(const DecodeModel& model, int64_t layer, const at::Tensor& qkv);

/// What is between the joint projection of a layer and attention: norms heads, turns q in place and
/// k by the table, and puts k and v where `to` says.
/// @param qkv  (sequences · tokens, (h + 2·kv)·d), contiguous
void turn_heads(const DecodeModel& model, int64_t layer, const RotaryTable& table,
                const at::Tensor& qkv, const CacheRows& to);

}  // namespace slice::detail
