#pragma once

#include <filesystem>

namespace slice::detail {

/// A target's path, absolute and without a slash at its end.
/// @throws Error  it exists and `replace` is false, or it is no directory that can be replaced:
///                neither empty nor that of a model (a config.json that names a model_type)
std::filesystem::path directory_target(const std::filesystem::path& target, bool replace);

/// Makes `from` durable and renames it to `target`. An old target changes names with it where the
/// file system can, so that there is a target at any time; else it is moved to `old` first. It is
/// removed last.
/// @throws Error  `target` exists and `replace` is false; a rename failed (says why), and the old
///                target is where it was
void put_directory(const std::filesystem::path& from, const std::filesystem::path& target,
                   bool replace, const std::filesystem::path& old);

}  // namespace slice::detail
