#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "libslice/model/norm.h"

namespace slice::detail {

struct DecodeModel;
struct DecodeSublayer;

/// A sublayer for many rows on a CUDA device: its products are cuBLAS's, what it adds to is the
/// writers' addend, and the norm and a gated activation are a kernel each.
///
/// @param x       (n, k_a), which may be written to
/// @param attend  qkv (n, (h + 2·kv)·d), which it may write to → (n, h·d)
/// @return        (n, k_b), in x's memory where the widths agree and the shortcut is no full matrix
at::Tensor wide_sublayer(const DecodeModel& model, const DecodeSublayer& sublayer,
                         const at::Tensor& x,
                         const std::function<at::Tensor(const at::Tensor& qkv)>& attend);

/// RMSNorm, with its weight where it has one, in one kernel; a LayerNorm by LibTorch. (n, k) → (n,
/// k)
at::Tensor wide_norm(const Norm& norm, const at::Tensor& x);

}  // namespace slice::detail
