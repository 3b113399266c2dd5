#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace slice::detail::jinja {

/// An error in the use of a template. The interpreter adds the line and makes it a FormatError.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Limits: the length of a template, the depth of its tree, the depth of macros, loops and
/// expressions while it runs, the depth of lists in lists, and the bytes that it may write.
inline constexpr size_t kMaxTemplateBytes = 1 << 20;
inline constexpr int kMaxTreeDepth = 200;
inline constexpr int kMaxRunDepth = 1000;
inline constexpr int kMaxValueDepth = 100;
inline constexpr size_t kMaxOutputBytes = 16 << 20;

/// The budget of a template: one unit per byte of text that is made or searched, more for larger
/// steps. Templates come from model files, and a loop that doubles a string would fill any memory.
class Meter {
 public:
  static constexpr uint64_t kStep = 16;     ///< an expression or a statement
  static constexpr uint64_t kElement = 64;  ///< of a list or a dict
  static constexpr uint64_t kScope = 8;     ///< in which a name is looked for

  void charge(uint64_t units) {
    if (units > left_) throw Failure("the template does not come to an end within its limits");
    left_ -= units;
  }

 private:
  uint64_t left_ = 64 << 20;  // half a second, and at most as many bytes
};

}  // namespace slice::detail::jinja
