#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace slice {

class TapHandle;

/// A point of the residual stream where observers attach: a block calls its tap with the stream
/// after its addition. Without an observer it costs one comparison. Not thread-safe.
class Tap {
 public:
  /// Sees the stream z (…, width); must not change it.
  using Observer = std::function<void(const at::Tensor& z)>;

  Tap();
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;

  /// Attaches an observer until the handle is destroyed. Observers are called in the order in which
  /// they were attached.
  [[nodiscard]] TapHandle attach(Observer observer);
  /// Calls every observer with z.
  void operator()(const at::Tensor& z) const;
  bool observed() const;

 private:
  friend class TapHandle;
  struct Observers;
  std::shared_ptr<Observers> observers_;
};

/// Detaches its observer when destroyed; outliving the tap is harmless. Move-only.
class TapHandle {
 public:
  TapHandle() = default;
  TapHandle(TapHandle&& other) noexcept;
  TapHandle& operator=(TapHandle&& other) noexcept;
  ~TapHandle();

 private:
  friend class Tap;
  void detach() noexcept;
  std::weak_ptr<Tap::Observers> observers_;
  int64_t id_ = 0;
};

}  // namespace slice
