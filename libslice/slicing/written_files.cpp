#include "libslice/slicing/written_files.h"

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/fingerprint.h"

namespace slice {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr char kReport[] = "slice_report.json";

std::string hash_of(const detail::InputFile& file) {
  detail::Sha256 hash;
  hash.add(file, 0, file.size());
  return hash.text();
}

/// Names of the regular files beside the report.
std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file(error) && name != kReport) names.push_back(name);
  }
  SLICE_FORMAT_CHECK(!error, "{}: {}", directory.string(), error.message());
  return names;
}

json read_report(const fs::path& directory) {
  constexpr size_t kMostBytes = size_t{256} << 20;
  const fs::path path = directory / kReport;
  json report = detail::parse_json(detail::read_text_file(path, kMostBytes), path.string());
  SLICE_FORMAT_CHECK(report.is_object(), "{}: want a JSON object", path.string());
  return report;
}

/// A name in a report may lead nowhere else.
void check_name(const std::string& name, const std::string& where) {
  SLICE_FORMAT_CHECK(!name.empty() && name != "." && name != ".." &&
                         name.find('/') == std::string::npos &&
                         name.find('\0') == std::string::npos,
                     "{}: files: want names of files in its directory, got '{}'", where, name);
}

/// What is wrong with one file; empty where nothing is.
std::string problem_of(const fs::path& path, const std::string& want, DirectoryCheck& check) {
  try {
    const detail::InputFile file(path);
    if (hash_of(file) != want)
      return detail::formatted("{}: was changed: its SHA-256 is not that of the report",
                               path.string());
    ++check.files;
    check.bytes += static_cast<int64_t>(file.size());
    return {};
  } catch (const FormatError& error) {  // names it
    return error.what();
  }
}

}  // namespace

std::map<std::string, std::string> file_hashes(const fs::path& directory) {
  std::map<std::string, std::string> hashes;
  for (const std::string& name : names_in(directory)) hashes[name] = file_hash(directory / name);
  return hashes;
}

std::string file_hash(const fs::path& file) { return hash_of(detail::InputFile(file)); }

std::string model_fingerprint(const fs::path& model) { return detail::fingerprint(model); }

DirectoryCheck check_directory(const fs::path& directory) {
  const std::string where = (directory / kReport).string();
  const json report = read_report(directory);
  SLICE_FORMAT_CHECK(
      report.contains("files") && report["files"].is_object(),
      "{}: files: want hashes of the files beside it; an earlier libslice wrote none", where);
  DirectoryCheck check;
  for (const auto& [name, hash] : report["files"].items()) {
    check_name(name, where);
    SLICE_FORMAT_CHECK(hash.is_string(), "{}: files: {}: want a SHA-256", where, name);
    const std::string problem = problem_of(directory / name, hash.get<std::string>(), check);
    if (!problem.empty()) check.problems.push_back(problem);
  }
  for (const std::string& name : names_in(directory))
    if (!report["files"].contains(name)) check.others.push_back(name);
  if (!check.problems.empty()) return check;
  try {
    open_checkpoint(directory);
  } catch (const FormatError& error) {
    check.problems.emplace_back(error.what());
  }
  return check;
}

std::string sliced_from(const fs::path& directory) {
  const json report = read_report(directory);
  const std::string where = (directory / kReport).string();
  const auto model = report.find("model");
  SLICE_FORMAT_CHECK(model != report.end() && model->is_object() && model->contains("sha256") &&
                         (*model)["sha256"].is_string(),
                     "{}: model.sha256: want the fingerprint of the dense model", where);
  return (*model)["sha256"].get<std::string>();
}

}  // namespace slice
