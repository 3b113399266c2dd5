#include "libslice/base/detail/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"

namespace slice::detail {

namespace fs = std::filesystem;

namespace {
std::string error_text() { return std::strerror(errno); }
}  // namespace

fs::path directory_target(const fs::path& given, bool replace) {
  fs::path target = fs::absolute(given).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // "out/" is "out"
  std::error_code error;
  const bool exists = fs::exists(fs::symlink_status(target, error));
  SLICE_CHECK_AS(Error, replace || !exists, "{}: exists already", target.string());
  SLICE_CHECK_AS(Error, target.has_filename() && (!exists || fs::is_directory(target, error)),
                 "{}: is not a directory that can be replaced", target.string());
  return target;
}

void put_directory(const fs::path& from, const fs::path& target, bool replace,
                   const fs::path& old) {
  sync_directory(from);
  std::error_code ignored;
  const bool displaced = fs::exists(fs::symlink_status(target, ignored));
  SLICE_CHECK_AS(Error, replace || !displaced, "{}: exists already",
                 target.string());  // it may have appeared meanwhile
  SLICE_CHECK_AS(Error, !displaced || std::rename(target.c_str(), old.c_str()) == 0,
                 "{}: cannot move it aside: {}", target.string(), error_text());
  if (std::rename(from.c_str(), target.c_str()) != 0) {
    const std::string reason = error_text();
    if (displaced) std::rename(old.c_str(), target.c_str());
    throw Error(detail::formatted("{}: cannot rename {} to it: {}", target.string(), from.string(),
                                  reason));
  }
  sync_directory(target.parent_path());
  if (displaced) fs::remove_all(old, ignored);
}

DirectoryLock::DirectoryLock(const fs::path& directory)
    : descriptor_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  SLICE_CHECK_AS(Error, descriptor_ >= 0, "{}: cannot open it: {}", directory.string(),
                 error_text());
  struct stat held {
  }, named{};
  const bool locked = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
  const bool same = locked && ::fstat(descriptor_, &held) == 0 &&
                    ::stat(directory.c_str(), &named) == 0 && held.st_ino == named.st_ino;
  if (same) return;
  ::close(descriptor_);
  throw Error(detail::formatted("{}: another process is working there", directory.string()));
}

DirectoryLock::~DirectoryLock() { ::close(descriptor_); }

}  // namespace slice::detail
