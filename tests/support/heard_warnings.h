#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "libslice/base/warning.h"

namespace slice::tests {

/// Hears every warning while it lives: CHECK(heard.text() == "").
class HeardWarnings {
 public:
  HeardWarnings()
      : before_(set_warning_handler(
            [this](std::string_view text) { text_.append(text).append("\n"); })) {}
  ~HeardWarnings() { set_warning_handler(std::move(before_)); }
  HeardWarnings(const HeardWarnings&) = delete;
  HeardWarnings& operator=(const HeardWarnings&) = delete;

  /// All of them, a line each.
  const std::string& text() const { return text_; }

 private:
  WarningHandler before_;
  std::string text_;
};

}  // namespace slice::tests
