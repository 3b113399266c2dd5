#pragma once

#include <memory>
#include <string>

#include "libslice/text/detail/byte_source.h"

namespace slice::detail {

/// Compressed data while it is unpacked, several streams after one another too. Takes at most 256
/// MiB of memory, whatever the data asks for, and unpacks 16 GiB at most.
/// @param path  for messages
/// @throws FormatError  from read(): damaged, cut off, or asking for more than that
std::unique_ptr<ByteSource> gunzip(std::unique_ptr<ByteSource> packed, const std::string& path);
std::unique_ptr<ByteSource> unxz(std::unique_ptr<ByteSource> packed, const std::string& path);
std::unique_ptr<ByteSource> unzstd(std::unique_ptr<ByteSource> packed, const std::string& path);

}  // namespace slice::detail
