#include "libslice/base/atomic_directory.h"

#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/directory.h"
#include "libslice/base/detail/file.h"

namespace slice {

namespace fs = std::filesystem;

namespace {

/// Removes what killed processes left for a target: directories whose lock nobody holds.
void remove_stale(const fs::path& target) {
  const std::string prefix = "." + target.filename().string() + ".", suffix = ".tmp";
  constexpr size_t kRandom = 8;  // detail::hidden_sibling
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(target.parent_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() != prefix.size() + kRandom + suffix.size() || !name.starts_with(prefix) ||
        !name.ends_with(suffix) || !fs::is_directory(entry.symlink_status(error)))
      continue;
    try {
      const detail::DirectoryLock nobody_holds(entry.path());
      fs::remove_all(entry.path(), error);
    } catch (const Error&) {  // of a running process, or of another user
    }
  }
}

}  // namespace

AtomicDirectory::AtomicDirectory(const fs::path& target, bool replace)
    : target_(detail::directory_target(target, replace)), replace_(replace) {
  remove_stale(target_);
  create();
}

/// A process that removes stale directories may lock this one between its creation and our lock:
/// then try again. Where the file system has no locks, nobody else gets one either.
void AtomicDirectory::create() {
  constexpr int kAttempts = 3;
  for (int attempt = 1; !lock_; ++attempt) {
    std::error_code error;
    temporary_ = detail::hidden_sibling(target_, "tmp");
    SLICE_CHECK_AS(Error, fs::create_directory(temporary_, error), "{}: cannot create it: {}",
                   temporary_.string(), error.message());
    try {
      lock_ = std::make_unique<detail::DirectoryLock>(temporary_);
    } catch (const Error&) {
      if (attempt == kAttempts) return;
      fs::remove(temporary_, error);
    }
  }
}

AtomicDirectory::~AtomicDirectory() {
  if (done_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  detail::put_directory(temporary_, target_, replace_, detail::hidden_sibling(target_, "old"));
  done_ = true;
}

}  // namespace slice
