#pragma once

#include <cstdint>
#include <filesystem>

namespace slice::detail {

/// Room on a disk that nobody else sees: a file without a name, gone with the process however that
/// ends. Reading and writing from several threads at a time is fine.
class ScratchFile {
 public:
  /// Takes all of its room at once. @param directory  empty: the system's for temporary files
  /// @throws Error  it cannot be created there, or there is no room for it
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
