#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace slice::detail {

struct DecodeModel;
struct DecodeSublayer;
class StepKernels;

/// A sublayer for at most 16 rows on a CUDA device, by cuda/decode_linear.h: the readers' product
/// takes norm and activation with it, the writer's the shortcut.
///
/// @param kernels where the products go
/// @param x       (n, k_a)
/// @param attend  qkv (n, (h + 2·kv)·d) → (n, h·d)
/// @return        (n, k_b)
at::Tensor few_rows_sublayer(StepKernels& kernels, const DecodeModel& model,
                             const DecodeSublayer& sublayer, const at::Tensor& x,
                             const std::function<at::Tensor(const at::Tensor& qkv)>& attend);

/// The head of x (n, k), its norm included, and the end of the step. @param logits  (n, V), written
void few_rows_logits(StepKernels& kernels, const DecodeModel& model, const at::Tensor& x,
                     at::Tensor& logits);

}  // namespace slice::detail
