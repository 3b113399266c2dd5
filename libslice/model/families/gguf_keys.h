#pragma once

#include <string>
#include <vector>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// Sizes, special tokens, biases and tie, which have the same keys in every architecture of
/// llama.cpp: `<architecture>.embedding_length` and so on. Norm and rotary keys are the family's.
/// @throws FormatError  a key is missing, contradicts another, or has an unsupported value
ModelConfig parse_gguf_sizes(const GgufFile& file, const std::string& family);

/// The architecture whose family reads this one: llama.cpp's `deci` is a `llama` whose layers may
/// differ, stored as lists; here only FFN widths may differ.
std::string gguf_relative(const std::string& architecture);

/// Whether llama.cpp rotates neighbouring coordinates of a head in this architecture, not halves.
bool gguf_interleaves(const std::string& architecture);

/// `<architecture>.<key>` of this file.
std::string gguf_key(const GgufFile& file, const std::string& key);

/// Rotary base and scaling: none, linear, or Llama 3's as divisors of the frequencies
/// (`rope_freqs.weight`). @throws FormatError  another scaling
void parse_gguf_rope(const GgufFile& file, ModelConfig& config);

/// The Hugging Face tensor of a GGUF tensor, or of some of its rows.
struct GgufPlace {
  std::string name;    ///< Hugging Face name
  int64_t begin, end;  ///< rows
};

/// The Hugging Face tensors of the GGUF tensor `name`: several for a fused q, k, v; none for
/// `rope_freqs.weight`, which is metadata. A tensor that the family does not have keeps its name.
std::vector<GgufPlace> gguf_places(const Names& names, const ModelConfig& config,
                                   const std::string& name, int64_t rows);

/// The GGUF name of a tensor, from its Hugging Face name.
/// @throws FormatError  llama.cpp has no such part
std::string gguf_name(const Names& names, const std::string& name);

}  // namespace slice::models
