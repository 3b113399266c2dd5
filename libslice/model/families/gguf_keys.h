#pragma once

#include <string>
#include <vector>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// Sizes, special tokens, biases and tie that every architecture of llama.cpp keeps under the same
/// keys, `<architecture>.embedding_length` and so on. Norm and rotary keys are the family's.
/// @throws FormatError  a key is missing, contradicts another, or names what is not supported.
ModelConfig parse_gguf_sizes(const GgufFile& file, const std::string& family);

/// The architecture whose description reads this one: llama.cpp's `deci` is a `llama` whose layers
/// may differ, which it writes as lists; only FFN widths may differ here.
std::string gguf_relative(const std::string& architecture);

/// llama.cpp turns neighbouring coordinates of a head in this architecture, halves in the others.
bool gguf_interleaves(const std::string& architecture);

/// `<architecture>.<key>` of this file.
std::string gguf_key(const GgufFile& file, const std::string& key);

/// Rotary base and scaling: none, linear, or Llama 3's as divisors of the frequencies
/// (`rope_freqs.weight`). @throws FormatError  another scaling.
void parse_gguf_rope(const GgufFile& file, ModelConfig& config);

/// Where a tensor of a GGUF file belongs: all of it, or some of its rows.
struct GgufPlace {
  std::string name;    ///< Hugging Face name
  int64_t begin, end;  ///< rows
};

/// Places of the tensor called `name`; several for a fused q, k, v; none for one that carries
/// nothing by itself (`rope_freqs.weight`).
/// @throws FormatError  no tensor of this family is called that.
std::vector<GgufPlace> gguf_places(const Names& names, const ModelConfig& config,
                                   const std::string& name, int64_t rows);

/// The other way: what a GGUF file calls the tensor whose Hugging Face name this is.
/// @throws FormatError  llama.cpp has no such part.
std::string gguf_name(const Names& names, const std::string& name);

}  // namespace slice::models
