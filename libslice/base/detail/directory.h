#pragma once

#include <filesystem>

namespace slice::detail {

/// A target's path, absolute and without a slash at its end.
/// @throws Error  it exists and `replace` is false, or it is no directory that can be replaced
std::filesystem::path directory_target(const std::filesystem::path& target, bool replace);

/// Makes `from` durable and renames it to `target`; an old target is moved to `old` first and
/// removed last.
/// @throws Error  `target` exists and `replace` is false; a rename failed (says why), and the old
///                target is where it was
void put_directory(const std::filesystem::path& from, const std::filesystem::path& target,
                   bool replace, const std::filesystem::path& old);

/// Keeps a directory to one process: a lock that ends with the process, however that ends.
class DirectoryLock {
 public:
  /// @throws Error  another process holds it
  explicit DirectoryLock(const std::filesystem::path& directory);
  DirectoryLock(const DirectoryLock&) = delete;
  ~DirectoryLock();

 private:
  int descriptor_ = -1;
};

}  // namespace slice::detail
