#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace slice {

/// SHA-256, in hexadecimal, of every file in a directory but slice_report.json, by name: what a
/// report holds of the files beside it. Cost: reads them once.
/// @throws FormatError  one cannot be read, or changes meanwhile
std::map<std::string, std::string> file_hashes(const std::filesystem::path& directory);
/// Of one file. @throws FormatError  as there
std::string file_hash(const std::filesystem::path& file);

/// Tells a model from another: SHA-256 of the names, sizes and bytes of its files, of one longer
/// than 64 MiB of the first MiB and of 512 pages spread evenly.
/// @throws FormatError  a file cannot be read
std::string model_fingerprint(const std::filesystem::path& model);

/// What check_directory found.
struct DirectoryCheck {
  int64_t files = 0, bytes = 0;  ///< that were read and are as they were written
  /// One line each: a file that is missing or was changed; weights that cannot be opened.
  std::vector<std::string> problems;
  std::vector<std::string> others;  ///< files that the report does not know
};

/// Verifies a directory that slicing wrote: every file against the SHA-256 in its slice_report.json,
/// and that its weights open as a model. What was changed together with its hash is not noticed: the
/// report is no signature.
/// @throws FormatError  no report there, or one without hashes
/// Cost: reads every file once.
DirectoryCheck check_directory(const std::filesystem::path& directory);

/// The fingerprint of the model that a directory was sliced from, of its report.
/// @throws FormatError  no report there, or one without it
std::string sliced_from(const std::filesystem::path& directory);

}  // namespace slice
