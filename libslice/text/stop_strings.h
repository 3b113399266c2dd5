#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slice {

/// Ends a text that comes in pieces where the first of some strings is complete. What could become
/// one of them is held back, so that nothing of it is given: the text before it does not depend on
/// how the pieces are cut.
class StopStrings {
 public:
  /// @throws ArgumentError  an empty string
  explicit StopStrings(std::vector<std::string> strings);

  /// @param piece  UTF-8, whole characters
  /// @return  text that belongs to the result; nothing more once stopped() is true
  std::string push(std::string_view piece);
  /// What was held back and became none of the strings.
  std::string finish();
  /// Whether a string was found: which one, else empty. Of two that end at the same place the longer
  /// one is.
  const std::string& found() const { return found_; }
  bool stopped() const { return !found_.empty(); }

 private:
  size_t held_back() const;

  std::vector<std::string> strings_;
  std::string pending_;  // not given yet
  std::string found_;
};

}  // namespace slice
