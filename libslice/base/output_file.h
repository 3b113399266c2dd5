#pragma once

#include <filesystem>
#include <string_view>

namespace slice {

/// Writes a small file to a path that a user gave. A regular file, or none yet, is replaced whole or
/// not at all; a symbolic link stays, and its target is written. What is no regular file (a device,
/// a pipe), and standard output or error by whatever name, is written as it is.
/// @throws Error  as check_output; cannot write
void write_output(const std::filesystem::path& path, std::string_view bytes);

/// Refuses a path that write_output cannot write, as far as that is known without a trace.
/// @throws Error  a directory, or a place where no file can be created; names the path
void check_output(const std::filesystem::path& path);

}  // namespace slice
