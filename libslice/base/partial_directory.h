#pragma once

#include <filesystem>
#include <memory>

namespace slice {

namespace detail {
class DirectoryLock;
}

/// A directory that appears whole or not at all, as an AtomicDirectory, but survives the process
/// that did not finish it: written as `.<name>.partial` beside the target, which holds the files
/// themselves and a journal of what is done. Only one process at a time works in it.
///
/// Destroying it before `commit` leaves it for the next process where the journal holds something,
/// else no trace.
class PartialDirectory {
 public:
  struct Options {
    bool replace = false;  ///< a target that exists; and, unless `resume`, an unfinished one
    bool resume = false;   ///< an unfinished one is gone on with; there may be none
  };

  /// @throws Error  the target exists, or an unfinished one without being asked for either;
  /// another process works in it; the parent is missing or not writable
  PartialDirectory(const std::filesystem::path& target, const Options& options);
  PartialDirectory(PartialDirectory&&) = delete;
  ~PartialDirectory();

  /// Where the files go.
  std::filesystem::path path() const { return partial_ / "model"; }
  /// Where the journal goes.
  std::filesystem::path journal() const { return partial_ / "journal"; }
  /// Whether the journal holds something, so that destroying this keeps it.
  bool resumable() const;
  /// Makes the files durable and renames their directory to the target; an old target is moved
  /// aside first and removed last, with the journal.
  void commit();

 private:
  std::filesystem::path old() const { return partial_ / "old"; }

  std::filesystem::path target_, partial_;
  bool replace_, done_ = false;
  std::unique_ptr<detail::DirectoryLock> lock_;
};

}  // namespace slice
