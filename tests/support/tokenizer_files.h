#pragma once

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "libslice/base/error.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/temporary_directory.h"

namespace slice::tests {

inline void write_files(const Tokenizer& tokenizer, const TemporaryDirectory& directory) {
  for (const Tokenizer::File& file : tokenizer.files()) directory.write(file.name, file.bytes);
}

inline std::string file_of(const Tokenizer& tokenizer, const std::string& name) {
  for (const Tokenizer::File& file : tokenizer.files()) {
    if (file.name == name) return file.bytes;
  }
  return {};
}

/// The message of the FormatError that `action` throws.
template <typename Action>
std::string refusal(Action action) {
  try {
    action();
  } catch (const FormatError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

inline void check_contains(const std::string& message, const std::string& part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace slice::tests
