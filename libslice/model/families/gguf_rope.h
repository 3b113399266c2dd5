#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"

namespace slice::models {

/// Rotary base, the part of a head that turns, and scaling: none, linear, YaRN, longrope (divisors
/// of the frequencies in `rope_factors_short.weight` and `rope_factors_long.weight`), or Llama 3's
/// (divisors in `rope_freqs.weight`). @throws FormatError  another scaling
void parse_gguf_rope(const GgufFile& file, ModelConfig& config);
/// The same where whole heads turn. @throws FormatError  also for a part of each head
void parse_gguf_whole_rope(const GgufFile& file, ModelConfig& config);

/// The context that a scaling stretches: that of the model where the file has no other.
int64_t gguf_original_context(const GgufFile& file, const ModelConfig& config);

/// Whether a tensor is a divisor of rotary frequencies, which is metadata.
bool is_gguf_rope_tensor(const std::string& name);
/// Those of a configuration, (r/2) float32.
std::vector<std::pair<std::string, at::Tensor>> gguf_rope_tensors(const ModelConfig& config);

}  // namespace slice::models
