#pragma once

#include "libslice/format/gguf_header.h"
#include "libslice/model/config.h"
#include "libslice/model/families/gguf_architectures.h"

namespace slice::detail {

/// Writes the keys that llama.cpp reads of a model of this architecture: sizes, norms, windows,
/// rotary positions, scales and soft caps.
/// @param dense  gguf_refusal() has nothing against it
void write_gguf_metadata(const models::GgufArchitecture& architecture, const ModelConfig& dense,
                         GgufHeader& header);

}  // namespace slice::detail
