#pragma once

#include <filesystem>
#include <string>
#include <system_error>

namespace slice::detail {

/// Refuses a path where there is nothing: it may be a model's name on the Hugging Face hub.
[[noreturn]] void refuse_missing(const std::filesystem::path& path, const std::error_code& error);

/// Refuses a directory without one of a model's files; says what it holds instead (an adapter,
/// pickled weights, Meta's original folder, GGUF files, …) and what to do about it.
[[noreturn]] void refuse_directory(const std::filesystem::path& directory,
                                   const std::string& missing);

/// Refuses a config.json of quantised weights, by the name of what quantised them.
/// @throws FormatError
void refuse_quantised(const std::string& config, const std::string& origin);

}  // namespace slice::detail
