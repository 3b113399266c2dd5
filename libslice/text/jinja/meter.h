#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace slice::detail::jinja {

/// Something a template must not do. The interpreter adds the line and makes it a FormatError.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How long a template may be, how deep its tree, how deep macros, loops and expressions may stand
/// in each other while it runs, how deep lists in lists, and how many bytes it may write.
inline constexpr size_t kMaxTemplateBytes = 1 << 20;
inline constexpr int kMaxTreeDepth = 200;
inline constexpr int kMaxRunDepth = 1000;
inline constexpr int kMaxValueDepth = 100;
inline constexpr size_t kMaxOutputBytes = 16 << 20;

/// What a template may spend: a unit a byte of text made or searched, more for what costs more. A
/// template comes out of a model file, and a loop over a doubling string would otherwise fill any
/// memory.
class Meter {
 public:
  static constexpr uint64_t kStep = 16;     ///< an expression or a statement
  static constexpr uint64_t kElement = 64;  ///< of a list or a dict

  void charge(uint64_t units) {
    if (units > left_) throw Failure("the template does not come to an end within its limits");
    left_ -= units;
  }

 private:
  uint64_t left_ = 64 << 20;  // half a second, and at most as many bytes
};

}  // namespace slice::detail::jinja
