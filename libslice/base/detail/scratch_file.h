#pragma once

#include <cstdint>
#include <filesystem>

namespace slice::detail {

/// Room on a disk that nobody else sees: a file without a name, gone when the process ends, however
/// that happens. Several threads may read and write at a time.
class ScratchFile {
 public:
  /// Takes all of its room at once. @param directory  empty: the system's for temporary files
  /// @throws Error  cannot create it there, or no room for it
  ScratchFile(const std::filesystem::path& directory, int64_t bytes);
  ScratchFile(const ScratchFile&) = delete;
  ~ScratchFile();

  /// @throws Error
  void read(void* data, int64_t bytes, int64_t offset) const;
  void write(const void* data, int64_t bytes, int64_t offset);

 private:
  std::filesystem::path directory_;
  int descriptor_ = -1;
};

}  // namespace slice::detail
