#pragma once

#include <algorithm>
#include <cstdint>

#include "libslice/decode/generator.h"

namespace slice::detail {

/// Whether an id ends a text.
inline bool is_stop(int64_t id, const GenerateOptions& options) {
  return std::find(options.stop_tokens.begin(), options.stop_tokens.end(), id) !=
         options.stop_tokens.end();
}

}  // namespace slice::detail
