#pragma once

#include <ATen/Context.h>

#include <mutex>
#include <utility>
#include <vector>

namespace slice::detail {

/// How a GPU multiplies float32 matrices while this lives, whatever the process had chosen
/// (LibTorch's global switch, put back at the end): in TF32 on the tensor cores (10 bits of each
/// factor's fraction, float32 sums), or exactly. TF32 is for signals that are only ever seen through
/// sums over many tokens.
///
/// The switch is the process's: of scopes in several threads the youngest that lives decides for
/// all. LibTorch writes it in two steps, between which reading it throws, so it is read once, by the
/// first scope of all.
class Tf32Scope {
 public:
  explicit Tf32Scope(bool on) {
    const std::lock_guard guard(mutex_);
    if (living_.empty()) original_ = current_ = at::globalContext().allowTF32CuBLAS();
    living_.reserve(living_.size() + 1);
    choose(on);
    living_.emplace_back(this, on);
  }
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;
  ~Tf32Scope() {
    const std::lock_guard guard(mutex_);
    std::erase_if(living_, [this](const auto& scope) { return scope.first == this; });
    choose(living_.empty() ? original_ : living_.back().second);
  }

 private:
  static void choose(bool on) {
    if (on != current_) at::globalContext().setAllowTF32CuBLAS(on);
    current_ = on;
  }
  static inline std::mutex mutex_;
  static inline std::vector<std::pair<const Tf32Scope*, bool>> living_;  // oldest first
  static inline bool original_ = false, current_ = false;
};

}  // namespace slice::detail
