#pragma once

#include <string>
#include <vector>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// Sizes, special tokens, biases and tie, which have the same keys in every architecture of
/// llama.cpp: `<architecture>.embedding_length` and so on. Norm keys are the family's, rotary keys
/// those of gguf_rope.h.
/// @throws FormatError  a key is missing, contradicts another, or has an unsupported value
ModelConfig parse_gguf_sizes(const GgufFile& file, const std::string& family);

/// The architecture whose family reads this one: llama.cpp's `deci` is a `llama` whose layers may
/// differ, stored as lists; here only FFN widths may differ.
std::string gguf_relative(const std::string& architecture);

/// `<architecture>.<key>` of this file.
std::string gguf_key(const GgufFile& file, const std::string& key);

/// A size of the model. One that is listed layer by layer, as `deci` files do, has to be the same
/// in all of them. @throws FormatError  it is missing and there is no `otherwise`
int64_t gguf_uniform_size(const GgufFile& file, const std::string& key);
int64_t gguf_uniform_size(const GgufFile& file, const std::string& key, int64_t otherwise);

/// parse_gguf_sizes and the eps of RMSNorms.
ModelConfig parse_gguf_rms(const GgufFile& file, const std::string& family);

/// @throws FormatError  a layer or the head has biases
void refuse_gguf_biases(const GgufFile& file, const ModelConfig& config);

/// Which layers have the sliding window: a list in the file, or all but the last of so many. A
/// window that no layer has is taken away.
/// @param pattern  where the file has neither; 0: all layers    @throws FormatError  another length
void parse_gguf_windows(const GgufFile& file, ModelConfig& config, int64_t pattern);

}  // namespace slice::models
