#pragma once

#include <ATen/Context.h>

#include <cstdint>
#include <mutex>

namespace slice::detail {

/// How a GPU multiplies float32 matrices while this lives, whatever the process had chosen
/// (LibTorch's global switch, put back at the end): in TF32 on the tensor cores (eleven bits of
/// each factor, float32 sums), or exactly. TF32 is for signals that are only ever seen through sums
/// over many tokens.
///
/// The switch is the process's and LibTorch writes it in two steps, between which reading it
/// throws: scopes of several threads take turns, and the last to end puts back what the first one
/// found. What another thread multiplies meanwhile follows the latest choice.
class Tf32Scope {
 public:
  explicit Tf32Scope(bool on) {
    const std::lock_guard guard(mutex_);
    before_ = at::globalContext().allowTF32CuBLAS();
    if (scopes_++ == 0) original_ = before_;
    choose(on);
  }
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;
  ~Tf32Scope() {
    const std::lock_guard guard(mutex_);
    choose(--scopes_ == 0 ? original_ : before_);
  }

 private:
  static void choose(bool on) {
    if (on != at::globalContext().allowTF32CuBLAS()) at::globalContext().setAllowTF32CuBLAS(on);
  }
  static inline std::mutex mutex_;
  static inline int64_t scopes_ = 0;  // of all threads
  static inline bool original_ = false;

  bool before_ = false;
};

}  // namespace slice::detail
