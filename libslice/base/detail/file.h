#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace slice::detail {

/// A file being written. Move-only; closed without fsync when destroyed early.
class OutputFile {
 public:
  OutputFile() = default;
  /// Creates `path`, which must not exist. @throws Error  names the path and errno's text.
  explicit OutputFile(const std::filesystem::path& path);
  /// Continues a file after its first `size` bytes; what followed them is cut off.
  /// @throws Error  the file is missing or shorter
  static OutputFile reopen(const std::filesystem::path& path, uint64_t size);
  /// Opens what is no regular file (a device, a pipe) to be written as it is; or, in its place, an
  /// open descriptor of it, which stays open. Neither can be synced.
  /// @throws Error  names the path and errno's text
  static OutputFile open_special(const std::filesystem::path& path, int descriptor = -1);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  void write(const void* data, size_t size);
  /// Locks the file as a FileLock does, as long as it is open. @return  false where it cannot
  bool lock() const;
  /// Returns when everything written is on the disk. @throws Error
  void sync();
  /// fsync and close. @throws Error
  void finish();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// What a path names at the end of its symbolic links, which may be a file that does not exist yet.
/// @throws Error  the links lead in a circle
std::filesystem::path link_target(std::filesystem::path path);

/// A file that appears whole or not at all: written under a hidden name next to `target` and
/// renamed by `commit`. A symbolic link stays, and its target is written. Destroying it before that
/// removes every trace; what a killed process had written is removed by the next AtomicFile for the
/// same target.
class AtomicFile {
 public:
  /// @throws Error  target exists and `replace` is false, or is no regular file; cannot create it
  AtomicFile(std::filesystem::path target, bool replace);
  AtomicFile(AtomicFile&&) = delete;
  ~AtomicFile();

  OutputFile& out() { return out_; }
  /// Syncs it, renames it, and syncs its directory. @throws Error
  void commit();

 private:
  void check_target() const;
  void create();

  std::filesystem::path target_, temporary_;
  bool replace_ = false, done_ = false;
  OutputFile out_;
};

/// Makes the names in a directory durable, where the file system can. @throws Error  its disk fails
void sync_directory(const std::filesystem::path& path);

/// Reads a small text file whole.
/// @throws FormatError  missing, unreadable, or longer than `limit` bytes
std::string read_text_file(const std::filesystem::path& path, size_t limit = size_t{1} << 30);

/// Writes a small file whole and fsyncs it, in place of what is there: in directories of this
/// library's own. @throws Error
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace slice::detail
