#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace slice::detail {

/// Keeps a file or a directory to one process: a lock that ends with the process, however that
/// ends.
class FileLock {
 public:
  /// @throws Error  another process holds it, or it is not there
  explicit FileLock(const std::filesystem::path& path);
  FileLock(const FileLock&) = delete;
  ~FileLock();

 private:
  int descriptor_ = -1;
};

/// A name that is not taken, `.<name>.<random>.<suffix>` next to `target`.
std::filesystem::path hidden_sibling(const std::filesystem::path& target,
                                     const std::string& suffix);

/// Calls `use` for what killed processes left beside `target`: hidden siblings of this suffix and
/// type that no living process holds the lock of, one at a time, while this one holds it.
void for_each_leftover(const std::filesystem::path& target, const std::string& suffix,
                       std::filesystem::file_type type,
                       const std::function<void(const std::filesystem::path&)>& use);

}  // namespace slice::detail
