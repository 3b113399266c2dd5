#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "libslice/model/adapter.h"

namespace slice {

/// A user-defined decoder, dense or sliced, as a Batch or an Engine runs it: by the modules that its
/// adapter names, on whatever device they are. A ModelAdapter says nothing of positions after the
/// first or of keys and values, so that the whole text goes through the modules for every token:
/// Θ(T²) tokens for a text of T.
struct UserDecoder {
  ModelAdapter adapter;
  int64_t positions = 0;               ///< tokens that a text may have, prompt included
  std::shared_ptr<void> modules = {};  ///< kept alive; empty where the caller sees to that

  int64_t vocabulary_size() const { return adapter.head.weight.size(0); }
  at::Device device() const { return adapter.head.weight.device(); }
};

}  // namespace slice
