#pragma once

#include <filesystem>
#include <memory>

namespace slice {

namespace detail {
class FileLock;
}

/// A directory that appears whole or not at all: written as `.NAME.RANDOM.tmp` next to `target`
/// and renamed by `commit`. Destroying it before that removes every trace. What a killed process
/// left is cleared up by the next AtomicDirectory for the same target: what it had written is
/// removed; an old target that it had moved aside (`.NAME.RANDOM.old`) is put back where there
/// is no target, and removed where there is one.
class AtomicDirectory {
 public:
  /// @throws Error  target exists and `replace` is false, or is neither empty nor that of a model;
  ///                the parent is missing or not writable
  AtomicDirectory(const std::filesystem::path& target, bool replace);
  AtomicDirectory(AtomicDirectory&&) = delete;
  ~AtomicDirectory();

  /// Where to write until then.
  const std::filesystem::path& path() const { return temporary_; }
  /// Syncs the directory and renames it to the target. An old target changes names with it where
  /// the file system can, else it is moved aside first; it is removed last.
  void commit();

 private:
  void clear_up() const;
  void create();

  std::filesystem::path target_, temporary_;
  bool replace_ = false, done_ = false;
  std::unique_ptr<detail::FileLock> lock_;  // held as long as this process lives
};

}  // namespace slice
