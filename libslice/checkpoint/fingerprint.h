#pragma once

#include <filesystem>
#include <string>

namespace slice::detail {

/// Tells a checkpoint from another one: a SHA-256, in hexadecimal, over the names, sizes and
/// samples of its files (a directory's configurations and safetensors files). Of a file up to
/// 64 MiB every byte counts, of a longer one the first MiB and 512 pages spread evenly: a model
/// that was trained on differs in all of them. Cost: 3 MiB read of every long file.
/// @throws FormatError  a file cannot be read
std::string fingerprint(const std::filesystem::path& checkpoint);

}  // namespace slice::detail
