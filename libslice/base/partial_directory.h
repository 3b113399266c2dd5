#pragma once

#include <filesystem>
#include <memory>

namespace slice {

namespace detail {
class FileLock;
}

/// A directory that appears whole or not at all, like an AtomicDirectory, but one that outlives a
/// process that did not finish it. It is written as `.<name>.partial` next to the target and holds
/// the files themselves and a journal of what is done. One process at a time works in it.
///
/// Destroying it before `commit` keeps it for the next process if the journal holds something, and
/// leaves no trace otherwise.
class PartialDirectory {
 public:
  struct Options {
    bool replace = false;  ///< a target that exists; and, unless `resume`, an unfinished one
    bool resume = false;   ///< an unfinished one is resumed, where there is one
  };

  /// @throws Error  the target exists without `replace`, or is neither empty nor that of a model;
  ///                an unfinished one without `resume` or `replace`, or another user's; another
  ///                process works in it; the parent is missing or not writable
  PartialDirectory(const std::filesystem::path& target, const Options& options);
  PartialDirectory(PartialDirectory&&) = delete;
  ~PartialDirectory();

  /// Directory of the files.
  std::filesystem::path path() const { return partial_ / "model"; }
  /// Directory of the journal.
  std::filesystem::path journal() const { return partial_ / "journal"; }
  /// Whether the journal holds something, so that destroying this keeps it.
  bool resumable() const;
  /// Makes the files durable and renames their directory to the target. An old target changes
  /// names with it where the file system can, else it is moved aside first; it is removed last,
  /// with the journal.
  void commit();

 private:
  std::filesystem::path old() const { return partial_ / "old"; }
  /// Holds the number that the files' directory has in the file system, whatever its name is.
  std::filesystem::path mark() const { return partial_ / "committing"; }
  bool is_committed() const;

  std::filesystem::path target_, partial_;
  bool replace_, done_ = false;
  std::unique_ptr<detail::FileLock> lock_;
};

}  // namespace slice
