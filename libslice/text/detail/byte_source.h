#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace slice::detail {

/// Bytes of a file that come piece by piece, so that no more of it than a piece is in memory.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Up to `size` bytes; 0 only at the end. @throws FormatError  unreadable, damaged
  virtual size_t read(char* data, size_t size) = 0;
};

/// A text file as its name says: `.gz`, `.xz` and `.zst` are decompressed; "-" is standard input.
/// @throws FormatError  missing, a directory; what is plainly no text by its first bytes (an
///                      archive under another name, Parquet, UTF-16, a Git LFS pointer)
std::unique_ptr<ByteSource> open_text_bytes(const std::string& path);

/// The name in lower case, without `.gz`, `.xz` or `.zst`: what kind of text is inside.
std::string uncompressed_name(const std::string& path);

}  // namespace slice::detail
