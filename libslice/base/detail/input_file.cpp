#include "libslice/base/detail/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

constexpr uint64_t kHead = 1024;

/// What a Git LFS clone without its files has in their place: three short lines.
bool is_lfs_pointer(const InputFile& file) {
  constexpr std::string_view kFirst = "version https://git-lfs.github.com/spec/";
  if (file.size() > kHead || file.size() < kFirst.size()) return false;
  const std::string text = file.head();
  return text.starts_with(kFirst) && text.find("\noid ") != std::string::npos;
}

}  // namespace

// O_NONBLOCK: opening a FIFO must not wait for its writer.
InputFile::InputFile(const std::filesystem::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  SLICE_FORMAT_CHECK(descriptor_ >= 0, "{}: {}", path_.string(), std::strerror(errno));
  InputFile owner(std::move(*this));  // closes it where a check fails
  struct stat status {};
  SLICE_FORMAT_CHECK(::fstat(owner.descriptor_, &status) == 0 && S_ISREG(status.st_mode),
                     "{}: not a regular file", owner.path_.string());
  owner.size_ = static_cast<uint64_t>(status.st_size);
  owner.changed_ = status.st_mtim;
  SLICE_FORMAT_CHECK(!is_lfs_pointer(owner),
                     "{}: a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'",
                     owner.path_.string());
  *this = std::move(owner);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(std::exchange(other.size_, 0)),
      changed_(other.changed_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(changed_, other.changed_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void InputFile::read(void* to, uint64_t begin, uint64_t end) const {
  SLICE_FORMAT_CHECK(begin <= end && end <= size_, "{}: bytes {} … {} are outside its {}",
                     path_.string(), begin, end, size_);
  char* at = static_cast<char*>(to);
  while (begin < end) {
    const ssize_t got = ::pread(descriptor_, at, end - begin, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    SLICE_FORMAT_CHECK(got >= 0, "{}: cannot read: {}", path_.string(), std::strerror(errno));
    SLICE_FORMAT_CHECK(got > 0, "{}: became shorter while it was read", path_.string());
    at += got;
    begin += static_cast<uint64_t>(got);
  }
  check_unchanged();
}

void InputFile::check_unchanged() const {
  struct stat status {};
  SLICE_FORMAT_CHECK(::fstat(descriptor_, &status) == 0, "{}: {}", path_.string(),
                     std::strerror(errno));
  SLICE_FORMAT_CHECK(static_cast<uint64_t>(status.st_size) == size_ &&
                         status.st_mtim.tv_sec == changed_.tv_sec &&
                         status.st_mtim.tv_nsec == changed_.tv_nsec,
                     "{}: was changed while it was read", path_.string());
}

std::string InputFile::text(uint64_t begin, uint64_t end) const {
  SLICE_FORMAT_CHECK(begin <= end && end <= size_, "{}: bytes {} … {} are outside its {}",
                     path_.string(), begin, end, size_);
  std::string text(end - begin, '\0');
  read(text.data(), begin, end);
  return text;
}

std::string InputFile::head() const { return text(0, std::min(size_, kHead)); }

}  // namespace slice::detail
