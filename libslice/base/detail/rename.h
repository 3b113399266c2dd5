#pragma once

#include <filesystem>

namespace slice::detail {

/// Renames `from` to `to` unless that exists, in one step where the file system can.
/// @return  0 or errno: EEXIST where `to` exists
int rename_to_new(const std::filesystem::path& from, const std::filesystem::path& to);

/// Gives two files or directories each other's names, in one step. @return  0 or errno: ENOTSUP
/// where the file system or the kernel cannot
int exchange_names(const std::filesystem::path& one, const std::filesystem::path& other);

}  // namespace slice::detail
