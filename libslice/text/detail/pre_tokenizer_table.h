#pragma once

#include <vector>

namespace slice::detail {

/// How one or several of llama.cpp's pre-tokenizers cut words.
struct PreTokenizer {
  std::vector<const char*> names;     ///< the first is written
  std::vector<const char*> patterns;  ///< applied one after the other
  bool nfc = false, ignore_merges = false, adds_bos = false;
};

/// All that llama.cpp knows for byte-level BPE.   (llama.cpp, src/llama-vocab.cpp)
const std::vector<PreTokenizer>& pre_tokenizers();

}  // namespace slice::detail
