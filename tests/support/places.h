#pragma once

#include <filesystem>

namespace slice::tests {

/// The checkout that the tests were built in. Functions and not macros, so that a compiler's cache
/// serves every checkout.
std::filesystem::path source_directory();
/// Its tests/data.
std::filesystem::path data_directory();

}  // namespace slice::tests
