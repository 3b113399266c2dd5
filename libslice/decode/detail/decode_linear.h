#pragma once

#include <optional>

#include "libslice/model/config.h"
#include "libslice/model/norm.h"
#include "libslice/model/shortcut.h"

namespace slice::kernels {
enum class Epilogue;
struct SkinnyLinear;
}  // namespace slice::kernels

/// Layers of few rows on `cuda/decode_linear.h`, from the modules around them.
namespace slice::ops::on_device {

/// The epilogue of an MLP's readers, where the kernel has it.
std::optional<kernels::Epilogue> epilogue_of(Activation activation, bool gated);

/// What a layer of these operands has in common with every other: X (B, K), W (N, K), bias (N) or
/// undefined. They are kept by the caller until it is launched.
kernels::SkinnyLinear skinny(const at::Tensor& X, const at::Tensor& W, const at::Tensor& bias);

/// The norm in front of a layer: into the layer where it is a root mean square, else by itself.
/// @return  what the layer reads, to be kept until it is launched
at::Tensor read_normed(kernels::SkinnyLinear& layer, const at::Tensor& x, const Norm& norm);

/// Adds the shortcut's share to a writer of x (B, k_a).
/// @return  memory that the layer reads, to be kept until it is launched
at::Tensor add_shortcut(kernels::SkinnyLinear& layer, const at::Tensor& x,
                        const Shortcut& shortcut);

/// @param Y  (B, N), of pairs (B, N/2); written
void launch(kernels::SkinnyLinear layer, at::Tensor& Y);
/// @return  Y, in memory like that of `like`
at::Tensor launch(const kernels::SkinnyLinear& layer, const at::Tensor& like);

}  // namespace slice::ops::on_device
