#include "libslice/base/detail/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "libslice/base/detail/check.h"

namespace slice::detail {

namespace fs = std::filesystem;

namespace {

/// For large files: not /tmp if it can be helped, which may itself be memory.
fs::path scratch_directory() {
  if (const char* given = std::getenv("TMPDIR"); given != nullptr && *given != '\0') return given;
  std::error_code none;
  return fs::is_directory("/var/tmp", none) ? "/var/tmp" : "/tmp";
}

/// A descriptor of a file without a name, or, where the file system has no such files, of one whose
/// name is removed at once.
int open_nameless(const fs::path& directory) {
#ifdef O_TMPFILE
  const int nameless = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (nameless >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return nameless;
#endif
  std::string name = (directory / ".libslice-signal.XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

/// Moves `bytes` in as many steps as it takes; 0 or errno.
template <typename Move>
int move_all(int64_t bytes, Move&& move) {
  for (int64_t done = 0; done < bytes;) {
    const ssize_t moved = move(done);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return moved < 0 ? errno : EIO;
    done += moved;
  }
  return 0;
}

}  // namespace

ScratchFile::ScratchFile(const fs::path& directory, int64_t bytes)
    : directory_(directory.empty() ? scratch_directory() : directory),
      descriptor_(open_nameless(directory_)) {
  SLICE_CHECK_AS(Error, descriptor_ >= 0, "{}: cannot create a file for the signal there: {}",
                 directory_.string(), std::strerror(errno));
  int status = 0;
  do {
    status = ::posix_fallocate(descriptor_, 0, bytes);
  } while (status == EINTR);
  if (status == 0) return;
  ::close(descriptor_);
  throw Error(detail::formatted("{}: no room for a file of {:.2f} GiB for the signal: {}",
                                directory_.string(), static_cast<double>(bytes) / 0x1p30,
                                std::strerror(status)));
}

ScratchFile::~ScratchFile() { ::close(descriptor_); }

void ScratchFile::read(void* data, int64_t bytes, int64_t offset) const {
  const int status = move_all(bytes, [&](int64_t done) {
    return ::pread(descriptor_, static_cast<char*>(data) + done, static_cast<size_t>(bytes - done),
                   offset + done);
  });
  SLICE_CHECK_AS(Error, status == 0, "{}: cannot read the signal's file there: {}",
                 directory_.string(), std::strerror(status));
}

void ScratchFile::write(const void* data, int64_t bytes, int64_t offset) {
  const int status = move_all(bytes, [&](int64_t done) {
    return ::pwrite(descriptor_, static_cast<const char*>(data) + done,
                    static_cast<size_t>(bytes - done), offset + done);
  });
  SLICE_CHECK_AS(Error, status == 0, "{}: cannot write the signal's file there: {}",
                 directory_.string(), std::strerror(status));
}

}  // namespace slice::detail
