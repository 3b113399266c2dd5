#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "tests/support/places.h"

namespace slice::tests {

/// A file of the data beside the project ($LIBSLICE_SHARED_DATA, else ../shared/data), when it is
/// there.
inline std::optional<std::filesystem::path> shared_data(const std::string& relative) {
  const char* root = std::getenv("LIBSLICE_SHARED_DATA");
  const std::filesystem::path source = source_directory();
  const auto path = (root ? std::filesystem::path(root) : source / "../shared/data") / relative;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

/// The bytes of a shared file, when it is there.
inline std::optional<std::string> shared_bytes(const std::string& relative) {
  const auto path = shared_data(relative);
  if (!path) return std::nullopt;
  std::ifstream file(*path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// The text of a shared `.xz` file, by the xz program; nothing when either is missing.
inline std::optional<std::string> shared_text(const std::string& relative) {
  const auto path = shared_data(relative);
  FILE* pipe = path ? popen(("xz -dc '" + path->string() + "'").c_str(), "r") : nullptr;
  if (!pipe) return std::nullopt;
  std::string text;
  char block[1 << 16];
  while (const size_t size = fread(block, 1, sizeof(block), pipe)) text.append(block, size);
  if (pclose(pipe) != 0) return std::nullopt;
  return text;
}

/// The demo model ($LIBSLICE_DEPS, else .deps of the project), when it was set up.
inline std::optional<std::filesystem::path> demo_model() {
  const char* root = std::getenv("LIBSLICE_DEPS");
  const std::filesystem::path source = source_directory();
  const auto path = (root ? std::filesystem::path(root) : source / ".deps") /
                    "model/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

}  // namespace slice::tests
