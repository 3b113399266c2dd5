#pragma once

#include "libslice/model/config.h"

namespace slice::detail {

/// Whether the CUDA kernels of this room know every part of a network. Any other one runs by its
/// modules.
inline bool runs_on_kernels(const ModelConfig& c) {
  return !c.routed() && c.activation != Activation::kXielu && !c.norms_turned_heads &&
         !c.query_growth;
}

}  // namespace slice::detail
