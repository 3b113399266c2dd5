#pragma once

#include <ATen/ATen.h>

#include "tests/support/tiny_model.h"

namespace slice::tests {

/// random_model on the GPU: weights rounded to `rounded`, computed with in `dtype`.
inline Model on_gpu(const ModelConfig& config, at::ScalarType rounded, at::ScalarType dtype) {
  Model model = random_model(config);
  for (auto& parameter : model.decoder().named_parameters())
    parameter.value().set_data(parameter.value().to(rounded).to(at::kCUDA, dtype));
  return model;
}

/// The same with weights in the type that they are computed with.
inline Model on_gpu(const ModelConfig& config, at::ScalarType dtype) {
  return on_gpu(config, dtype, dtype);
}

}  // namespace slice::tests
