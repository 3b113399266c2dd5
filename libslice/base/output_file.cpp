#include "libslice/base/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"

namespace slice {
namespace {

/// Standard output or error of this process where that is the file, otherwise −1.
int standard_stream(const struct stat& file) {
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat own {};
    if (::fstat(stream, &own) == 0 && own.st_dev == file.st_dev && own.st_ino == file.st_ino)
      return stream;
  }
  return -1;
}

}  // namespace

void write_output(const std::filesystem::path& path, std::string_view bytes) {
  check_output(path);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    const int stream = standard_stream(status);
    if (stream >= 0 || !S_ISREG(status.st_mode)) {
      if (stream >= 0) std::fflush(nullptr);  // what the program printed comes first
      detail::OutputFile::open_special(path, stream).write(bytes.data(), bytes.size());
      return;
    }
  }
  detail::AtomicFile file(path, /*replace=*/true);
  file.out().write(bytes.data(), bytes.size());
  file.commit();
}

void check_output(const std::filesystem::path& path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  SLICE_CHECK_AS(Error, exists ? !S_ISDIR(status.st_mode) : path.has_filename(),
                 "{}: is a directory", path.string());
  if (exists && (standard_stream(status) >= 0 || !S_ISREG(status.st_mode))) {
    SLICE_CHECK_AS(Error, standard_stream(status) >= 0 || ::access(path.c_str(), W_OK) == 0,
                   "{}: cannot write: {}", path.string(), std::strerror(errno));
    return;
  }
  std::filesystem::path parent = detail::link_target(path).parent_path();
  if (parent.empty()) parent = ".";
  parent /= "";  // a directory's name
  SLICE_CHECK_AS(Error, ::access(parent.c_str(), W_OK | X_OK) == 0, "{}: cannot create it: {}",
                 path.string(), std::strerror(errno));
}

}  // namespace slice
