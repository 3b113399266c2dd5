#include "libslice/base/detail/rename.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#ifdef __linux__
#include <linux/fs.h>
#include <sys/syscall.h>
#endif

namespace slice::detail {

namespace fs = std::filesystem;

namespace {

/// renameat2, where there is one. @return  0 or errno, ENOTSUP where the flags are not known
int rename_with(const fs::path& from, const fs::path& to, unsigned flags) {
#if defined(__linux__) && defined(SYS_renameat2)
  if (::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0) return 0;
  const bool unknown = errno == EINVAL || errno == ENOSYS || errno == EPERM;
  return unknown ? ENOTSUP : errno;
#else
  static_cast<void>(from), static_cast<void>(to), static_cast<void>(flags);
  return ENOTSUP;
#endif
}

#ifndef RENAME_NOREPLACE
constexpr unsigned RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2;
#endif

}  // namespace

int rename_to_new(const fs::path& from, const fs::path& to) {
  const int status = rename_with(from, to, RENAME_NOREPLACE);
  if (status != ENOTSUP) return status;
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(to, ignored))) return EEXIST;
  return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

int exchange_names(const fs::path& one, const fs::path& other) {
  return rename_with(one, other, RENAME_EXCHANGE);
}

}  // namespace slice::detail
