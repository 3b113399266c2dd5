#pragma once

#include <c10/core/AutogradState.h>

namespace slice::detail {

/// While this lives, backward passes that this thread asks for run in it, on whatever device.
/// LibTorch otherwise has a thread for every GPU, which warns that it finds no CUDA context where
/// its first kernel is cuBLAS's, and is handed every pass.
class BackwardHere {
 public:
  BackwardHere() { state().set_multithreading_enabled(false); }
  BackwardHere(const BackwardHere&) = delete;
  BackwardHere& operator=(const BackwardHere&) = delete;
  ~BackwardHere() { state().set_multithreading_enabled(before_); }

 private:
  static c10::AutogradState& state() { return c10::AutogradState::get_tls_state(); }
  const bool before_ = state().get_multithreading_enabled();
};

}  // namespace slice::detail
