#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "libslice/base/detail/file.h"

namespace slice::tests {

/// All files of a directory by name.
inline std::map<std::string, std::string> contents(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    files[entry.path().filename()] = detail::read_text_file(entry.path());
  return files;
}

}  // namespace slice::tests
