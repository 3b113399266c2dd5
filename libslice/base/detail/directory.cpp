#include "libslice/base/detail/directory.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/leftovers.h"
#include "libslice/base/detail/rename.h"

namespace slice::detail {

namespace fs = std::filesystem;

namespace {

bool is_model(const fs::path& directory) {
  constexpr size_t kMostBytes = size_t{1} << 24;
  try {
    const fs::path config = directory / "config.json";
    const auto json = parse_json(read_text_file(config, kMostBytes), config.string());
    return json.is_object() && (json.contains("model_type") || json.contains("architectures"));
  } catch (const Error&) {  // there is none, or one that nobody can read
    return false;
  }
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// Without an exchange of names there is a moment without a target. Who holds the lock of `old`
/// lives and puts it back; otherwise the next process does.
void move_aside(const fs::path& from, const fs::path& target, const fs::path& old) {
  std::optional<FileLock> ours;
  try {
    ours.emplace(target);
  } catch (const Error&) {  // no locks there, or one that a user of the directory holds
  }
  SLICE_CHECK_AS(Error, std::rename(target.c_str(), old.c_str()) == 0,
                 "{}: cannot move it aside: {}", target.string(), std::strerror(errno));
  if (std::rename(from.c_str(), target.c_str()) == 0) {
    sync_directory(target.parent_path());
    std::error_code ignored;
    fs::remove_all(old, ignored);
    return;
  }
  const std::string reason = std::strerror(errno);
  std::rename(old.c_str(), target.c_str());
  throw Error(formatted("{}: cannot rename {} to it: {}", target.string(), from.string(), reason));
}

}  // namespace

fs::path directory_target(const fs::path& given, bool replace) {
  fs::path target = fs::absolute(given).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // "out/" is "out"
  const bool there = is_there(target);
  std::error_code error;
  SLICE_CHECK_AS(Error, replace || !there, "{}: exists already", target.string());
  SLICE_CHECK_AS(Error, target.has_filename() && (!there || fs::is_directory(target, error)),
                 "{}: is not a directory that can be replaced", target.string());
  SLICE_CHECK_AS(Error, !there || fs::is_empty(target, error) || is_model(target),
                 "{}: is not a directory that can be replaced: neither empty nor that of a model "
                 "(a config.json with a model_type)",
                 target.string());
  return target;
}

void put_directory(const fs::path& from, const fs::path& target, bool replace,
                   const fs::path& old) {
  sync_directory(from);
  int status = rename_to_new(from, target);
  SLICE_CHECK_AS(Error, replace || status != EEXIST, "{}: exists already",
                 target.string());  // it may have appeared meanwhile
  const bool displaces = status == EEXIST;
  if (displaces) status = exchange_names(from, target);
  if (status == ENOTSUP) return move_aside(from, target, old);
  SLICE_CHECK_AS(Error, status == 0, "{}: cannot rename {} to it: {}", target.string(),
                 from.string(), std::strerror(status));
  sync_directory(target.parent_path());
  std::error_code ignored;
  if (displaces) fs::remove_all(from, ignored);  // the old target
}

}  // namespace slice::detail
