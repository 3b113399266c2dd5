#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>

namespace slice::detail {

/// A file read by position. Nothing of it is mapped, so that a file that another process cuts or
/// changes ends in an error, not in a signal or in weights of two models. Move-only; several threads
/// may read at a time. Cost: a read is one copy, from the system's cache to its place.
class InputFile {
 public:
  InputFile() = default;
  /// @throws FormatError  missing, a directory, unreadable (names the path and the reason); what Git
  ///                      LFS leaves in a file's place
  explicit InputFile(const std::filesystem::path& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  /// In bytes, when it was opened.
  uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

  /// Copies bytes [begin, end) to `to`.
  /// @throws FormatError  they are outside the file; it was changed since it was opened, or its disk
  ///                      cannot be read
  void read(void* to, uint64_t begin, uint64_t end) const;
  /// The same as text. @throws FormatError
  std::string text(uint64_t begin, uint64_t end) const;
  /// What it begins with, enough to tell one kind of file from another. @throws FormatError
  std::string head() const;

 private:
  void check_unchanged() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::timespec changed_{};
};

}  // namespace slice::detail
