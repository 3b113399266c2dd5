#pragma once

#include <c10/core/Device.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>

namespace slice::detail {

/// Wall-clock seconds since it was made.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

/// Adds the seconds of its lifetime to an account, including work that a device has not finished.
class Charge {
 public:
  explicit Charge(double& account, c10::Device device = c10::kCPU)
      : account_(account), device_(device) {}
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge() {
    if (device_.is_cuda()) wait();
    account_ += clock_.seconds();
  }

 private:
  /// An error of the device is reported again by the next call.
  void wait() noexcept {
    try {
      c10::impl::VirtualGuardImpl(device_.type()).synchronizeDevice(device_.index());
    } catch (const c10::Error&) {
    }
  }

  double& account_;
  c10::Device device_;
  Stopwatch clock_;
};

}  // namespace slice::detail
