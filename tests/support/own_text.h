#pragma once

#include <ATen/ATen.h>

#include "libslice/decode/generator.h"

namespace slice::tests {

/// Windows that a model writes itself at temperature 1 after their first ids (N, 1): (N, T).
inline at::Tensor own_text(const Model& model, const at::Tensor& first, int64_t T, uint64_t seed) {
  Generator generator(model, T, first.size(0));
  generator.feed(first);
  return at::cat({first, generator.continue_sampled(T - 1, {.temperature = 1}, seed)}, 1);
}

}  // namespace slice::tests
