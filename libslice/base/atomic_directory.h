#pragma once

#include <filesystem>
#include <memory>

namespace slice {

namespace detail {
class DirectoryLock;
}

/// A directory that appears whole or not at all: written as `.<name>.<random>.tmp` beside `target`,
/// renamed by `commit`. Destroying it before that removes every trace; what processes that were
/// killed had written is removed by the next one for the same target. An old target that one of
/// them had moved aside (`.<name>.<random>.old`) stays: it may be the only one.
class AtomicDirectory {
 public:
  /// @throws Error  target exists and `replace` is false; the parent is missing or not writable.
  AtomicDirectory(const std::filesystem::path& target, bool replace);
  AtomicDirectory(AtomicDirectory&&) = delete;
  ~AtomicDirectory();

  /// Where to write meanwhile.
  const std::filesystem::path& path() const { return temporary_; }
  /// fsyncs the directory and renames it to the target; an old target is moved aside first and
  /// removed last.
  void commit();

 private:
  void create();

  std::filesystem::path target_, temporary_;
  bool replace_ = false, done_ = false;
  std::unique_ptr<detail::DirectoryLock> lock_;  // says that this process lives
};

}  // namespace slice
