#pragma once

#include <string>

namespace cli {

/// The first line of a message: some of LibTorch's are pages long.
inline std::string first_line(const std::string& message) {
  return message.substr(0, message.find('\n'));
}

}  // namespace cli
