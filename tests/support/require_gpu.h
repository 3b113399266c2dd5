#pragma once

#include <ATen/Context.h>

#include <catch2/catch_test_macros.hpp>

namespace slice::tests {

/// Skips the test where LibTorch sees no GPU.
inline void require_gpu() {
  if (!at::hasCUDA() || at::getNumGPUs() == 0) SKIP("no CUDA device");
}

}  // namespace slice::tests
