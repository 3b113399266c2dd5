#pragma once

#include <filesystem>
#include <string>

namespace slice::detail {

/// Tells one checkpoint from another: a SHA-256, in hexadecimal, of the names, the sizes and
/// samples of its files (of a directory: config.json, safetensors files and their index; all files
/// of a split GGUF). Every byte of a file up to 64 MiB counts; of a longer one the first MiB and
/// 512 pages spread evenly, which differ after any further training. Cost: reads 3 MiB of every
/// long file.
/// @throws FormatError  a file cannot be read
std::string fingerprint(const std::filesystem::path& checkpoint);

}  // namespace slice::detail
