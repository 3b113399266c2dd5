#pragma once

#include <ATen/Context.h>

namespace slice::detail {

/// float32 products on a GPU's tensor cores (TF32: eleven bits of each factor, float32 sums) while
/// it lives. For signals that are only ever seen through sums over many tokens.
class Tf32Scope {
 public:
  Tf32Scope() { at::globalContext().setAllowTF32CuBLAS(true); }
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;
  ~Tf32Scope() { at::globalContext().setAllowTF32CuBLAS(before_); }

 private:
  bool before_ = at::globalContext().allowTF32CuBLAS();
};

}  // namespace slice::detail
