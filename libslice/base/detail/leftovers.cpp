#include "libslice/base/detail/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "libslice/base/detail/check.h"

namespace slice::detail {

namespace fs = std::filesystem;

namespace {

constexpr size_t kRandom = 8;  // hexadecimal digits

/// Whether a file is called `.<name>.<random>.<suffix>`.
bool is_sibling(std::string_view file, const std::string& name, const std::string& suffix) {
  const std::string begin = "." + name + ".", end = "." + suffix;
  if (file.size() != begin.size() + kRandom + end.size() || !file.starts_with(begin) ||
      !file.ends_with(end))
    return false;
  const std::string_view random = file.substr(begin.size(), kRandom);
  return random.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

FileLock::FileLock(const fs::path& path)
    : descriptor_(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) {
  SLICE_CHECK_AS(Error, descriptor_ >= 0, "{}: cannot open it: {}", path.string(),
                 std::strerror(errno));
  struct stat held {
  }, named{};
  const bool locked = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
  const bool same = locked && ::fstat(descriptor_, &held) == 0 &&
                    ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino;
  if (same) return;
  ::close(descriptor_);
  throw Error(detail::formatted("{}: another process is working there", path.string()));
}

FileLock::~FileLock() { ::close(descriptor_); }

fs::path hidden_sibling(const fs::path& target, const std::string& suffix) {
  std::random_device random;
  return target.parent_path() /
         detail::formatted(".{}.{:08x}.{}", target.filename().string(), random(), suffix);
}

void for_each_leftover(const fs::path& target, const std::string& suffix, fs::file_type type,
                       const std::function<void(const fs::path&)>& use) {
  const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const std::string name = target.filename().string();
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const bool fits = is_sibling(entry.path().filename().string(), name, suffix);
    if (fits && entry.symlink_status(error).type() == type) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& path : found) {
    try {
      const FileLock nobody_holds(path);
      use(path);
    } catch (const Error&) {  // of a living process, or of another user
    }
  }
}

}  // namespace slice::detail
