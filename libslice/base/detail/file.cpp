#include "libslice/base/detail/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/leftovers.h"
#include "libslice/base/detail/rename.h"

namespace slice::detail {
namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path),
      descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {
  SLICE_CHECK_AS(Error, descriptor_ >= 0, "{}: cannot create it: {}", path.string(),
                 std::strerror(errno));
}

OutputFile OutputFile::reopen(const std::filesystem::path& path, uint64_t size) {
  OutputFile file;
  file.path_ = path;
  file.descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  struct stat status {};
  SLICE_CHECK_AS(Error, file.descriptor_ >= 0 && ::fstat(file.descriptor_, &status) == 0,
                 "{}: cannot open it: {}", path.string(), std::strerror(errno));
  SLICE_CHECK_AS(Error, static_cast<uint64_t>(status.st_size) >= size,
                 "{}: want at least {} bytes, got {}", path.string(), size, status.st_size);
  SLICE_CHECK_AS(Error,
                 ::ftruncate(file.descriptor_, static_cast<off_t>(size)) == 0 &&
                     ::lseek(file.descriptor_, 0, SEEK_END) >= 0,
                 "{}: cannot truncate it: {}", path.string(), std::strerror(errno));
  return file;
}

OutputFile OutputFile::open_special(const std::filesystem::path& path, int descriptor) {
  OutputFile file;
  file.path_ = path;
  file.descriptor_ = descriptor >= 0 ? ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
                                     : ::open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  SLICE_CHECK_AS(Error, file.descriptor_ >= 0, "{}: cannot open it: {}", path.string(),
                 std::strerror(errno));
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, at, size);
    if (written < 0 && errno == EINTR) continue;
    SLICE_CHECK_AS(Error, written > 0, "{}: cannot write: {}", path_.string(),
                   std::strerror(errno));
    at += written;
    size -= static_cast<size_t>(written);
  }
}

bool OutputFile::lock() const { return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0; }

void OutputFile::sync() {
  SLICE_CHECK_AS(Error, ::fsync(descriptor_) == 0, "{}: cannot sync it to the disk: {}",
                 path_.string(), std::strerror(errno));
}

void OutputFile::finish() {
  sync();
  const int descriptor = std::exchange(descriptor_, -1);
  SLICE_CHECK_AS(Error, ::close(descriptor) == 0, "{}: cannot close it: {}", path_.string(),
                 std::strerror(errno));
}

std::filesystem::path link_target(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as the kernel
  std::error_code error;
  for (int links = 0; std::filesystem::is_symlink(std::filesystem::symlink_status(path, error));
       ++links) {
    SLICE_CHECK_AS(Error, links < kMostLinks, "{}: too many symbolic links", path.string());
    const std::filesystem::path next = std::filesystem::read_symlink(path, error);
    SLICE_CHECK_AS(Error, !error, "{}: cannot follow it: {}", path.string(), error.message());
    path = path.parent_path() / next;  // `next` alone where it is absolute
  }
  return path;
}

AtomicFile::AtomicFile(std::filesystem::path target, bool replace)
    : target_(link_target(std::move(target))), replace_(replace) {
  check_target();
  for_each_leftover(target_, "tmp", std::filesystem::file_type::regular, [](const auto& path) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  });
  create();
}

/// A process that removes leftovers may lock the file between its creation and our lock: then try
/// again. Where the file system has no locks, nobody else gets one either.
void AtomicFile::create() {
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    temporary_ = hidden_sibling(target_, "tmp");
    out_ = OutputFile(temporary_);
    std::error_code ignored;
    const bool ours = out_.lock() && std::filesystem::exists(temporary_, ignored);
    if (ours || attempt == kAttempts) return;
    std::filesystem::remove(temporary_, ignored);
  }
}

AtomicFile::~AtomicFile() {
  if (done_) return;
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void AtomicFile::check_target() const {
  std::error_code ignored;
  const auto status = std::filesystem::symlink_status(target_, ignored);
  SLICE_CHECK_AS(Error, replace_ || !std::filesystem::exists(status), "{}: exists already",
                 target_.string());
  SLICE_CHECK_AS(Error, !std::filesystem::is_directory(status), "{}: is a directory",
                 target_.string());
  SLICE_CHECK_AS(Error,
                 !std::filesystem::exists(status) || std::filesystem::is_regular_file(status),
                 "{}: is no regular file", target_.string());
}

void AtomicFile::commit() {
  out_.sync();
  check_target();  // it may have appeared meanwhile
  int status = rename_to_new(temporary_, target_);
  if (status == EEXIST && replace_)
    status = std::rename(temporary_.c_str(), target_.c_str()) == 0 ? 0 : errno;
  SLICE_CHECK_AS(Error, status != EEXIST, "{}: exists already", target_.string());
  SLICE_CHECK_AS(Error, status == 0, "{}: cannot rename {} to it: {}", target_.string(),
                 temporary_.string(), std::strerror(status));
  done_ = true;
  out_.finish();  // only now: its lock ends
  sync_directory(target_.has_parent_path() ? target_.parent_path() : ".");
}

void sync_directory(const std::filesystem::path& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) == 0) return;
  const bool cannot =
      errno == EINVAL || errno == ENOTSUP || errno == EROFS;  // the files are synced
  SLICE_CHECK_AS(Error, cannot, "{}: cannot sync it to the disk: {}", path.string(),
                 std::strerror(errno));
}

std::string read_text_file(const std::filesystem::path& path, size_t limit) {
  const InputFile file(path);
  SLICE_FORMAT_CHECK(file.size() <= limit, "{}: {} bytes, want at most {}", path.string(),
                     file.size(), limit);
  return file.text(0, file.size());
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  OutputFile file(path);
  file.write(bytes.data(), bytes.size());
  file.finish();
}

}  // namespace slice::detail
