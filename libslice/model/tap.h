#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace slice {

class TapHandle;

/// A point of the residual stream where observers may listen: a block calls its tap with the stream
/// behind its addition. Costs one comparison when nobody listens. Not thread-safe.
class Tap {
 public:
  /// Sees the stream z (…, width); must not change it.
  using Observer = std::function<void(const at::Tensor& z)>;

  Tap();
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;

  /// Attaches an observer until the handle is destroyed; observers are called in the order they
  /// came.
  [[nodiscard]] TapHandle attach(Observer observer);
  /// Shows z to every observer.
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
