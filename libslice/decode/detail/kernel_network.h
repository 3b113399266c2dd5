#pragma once

#include "libslice/model/config.h"

namespace slice::detail {

/// Whether the CUDA kernels of this room know every part of a network. Any other one runs by its
/// modules.
inline bool runs_on_kernels(const ModelConfig& c) {
  const bool one_rotary = c.rotary_layers.empty() && !c.window_rope_theta &&
                          (!c.rope_scaling || c.rope_scaling->kind == RopeScaling::Kind::kLinear ||
                           c.rope_scaling->kind == RopeScaling::Kind::kLlama3);
  const bool plain_scores =
      c.head_norm == HeadNorm::kNone && !c.attention_scale && c.attention_softcap == 0;
  const bool unscaled =
      c.embedding_scale == 1 && c.residual_scale == 1 && c.logit_scale == 1 && c.logit_softcap == 0;
  const bool one_norm = (c.sliced() || !c.branch_norms) && !c.norms_outputs();
  return one_norm && one_rotary && plain_scores && unscaled && c.activation != Activation::kRelu2;
}

}  // namespace slice::detail
