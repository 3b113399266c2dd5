#pragma once

#include <filesystem>
#include <map>
#include <set>
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

/// The names of everything in a directory.
inline std::set<std::string> names_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename().string());
  return names;
}

}  // namespace slice::tests
