#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace slice::detail {

struct DecodeModel;
struct DecodeSublayer;

/// A sublayer for many rows on a CUDA device: its products are cuBLAS's, the writers' add to the
/// shortcut, and the norm and a gated activation are a kernel each.
///
/// @param x       (n, k_a), which may be written to
/// @param attend  qkv (n, (h + 2·kv)·d), which it may write to → (n, h·d)
/// @return        (n, k_b), in x's memory where the widths agree and the shortcut is no full matrix
at::Tensor many_rows_sublayer(const DecodeModel& model, const DecodeSublayer& sublayer,
                              const at::Tensor& x,
                              const std::function<at::Tensor(const at::Tensor& qkv)>& attend);

/// The head of x (n, k), its norm included. @param logits  (n, V), written
void many_rows_logits(const DecodeModel& model, const at::Tensor& x, at::Tensor& logits);

}  // namespace slice::detail
