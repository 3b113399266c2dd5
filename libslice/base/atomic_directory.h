#pragma once

#include <filesystem>
#include <memory>

namespace slice {

namespace detail {
class DirectoryLock;
}

/// A directory that appears whole or not at all: written as `.<name>.<random>.tmp` next to `target`
/// and renamed by `commit`. Destroying it before that removes every trace. What a killed process
/// had written is removed by the next AtomicDirectory for the same target; an old target that it
/// had moved aside (`.<name>.<random>.old`) is kept, for it may be the only copy.
class AtomicDirectory {
 public:
  /// @throws Error  target exists and `replace` is false; the parent is missing or not writable.
  AtomicDirectory(const std::filesystem::path& target, bool replace);
  AtomicDirectory(AtomicDirectory&&) = delete;
  ~AtomicDirectory();

  /// Where to write until then.
  const std::filesystem::path& path() const { return temporary_; }
  /// fsyncs the directory and renames it to the target; an old target is moved aside first and
  /// removed last.
  void commit();

 private:
  void create();

  std::filesystem::path target_, temporary_;
  bool replace_ = false, done_ = false;
  std::unique_ptr<detail::DirectoryLock> lock_;  // held as long as this process lives
};

}  // namespace slice
