#pragma once

#include <ATen/Context.h>

namespace slice::detail {

/// How a GPU multiplies float32 matrices while this lives, whatever the process had chosen
/// (LibTorch's global switch, put back at the end): in TF32 on the tensor cores (eleven bits of
/// each factor, float32 sums), or exactly. TF32 is for signals that are only ever seen through sums
/// over many tokens.
class Tf32Scope {
 public:
  explicit Tf32Scope(bool on) : on_(on) {
    if (on_ != before_) at::globalContext().setAllowTF32CuBLAS(on_);
  }
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;
  ~Tf32Scope() {
    if (on_ != before_) at::globalContext().setAllowTF32CuBLAS(before_);
  }

 private:
  const bool before_ = at::globalContext().allowTF32CuBLAS(), on_;
};

}  // namespace slice::detail
