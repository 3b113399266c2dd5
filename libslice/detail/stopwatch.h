#pragma once

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

/// Adds the seconds of its lifetime to an account.
class Charge {
 public:
  explicit Charge(double& account) : account_(account) {}
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge() { account_ += clock_.seconds(); }

 private:
  double& account_;
  Stopwatch clock_;
};

}  // namespace slice::detail
