#include "libslice/base/atomic_directory.h"

#include <cerrno>
#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/directory.h"
#include "libslice/base/detail/leftovers.h"
#include "libslice/base/detail/rename.h"

namespace slice {

namespace fs = std::filesystem;

AtomicDirectory::AtomicDirectory(const fs::path& target, bool replace)
    : target_(detail::directory_target(target, replace)), replace_(replace) {
  clear_up();
  detail::directory_target(target_, replace_);  // one that was put back
  create();
}

void AtomicDirectory::clear_up() const {
  constexpr auto kDirectory = fs::file_type::directory;
  std::error_code error;
  detail::for_each_leftover(target_, "old", kDirectory, [&](const fs::path& old) {
    if (detail::rename_to_new(old, target_) == EEXIST) fs::remove_all(old, error);
  });
  detail::for_each_leftover(target_, "tmp", kDirectory,
                            [&](const fs::path& path) { fs::remove_all(path, error); });
}

/// A process that removes leftovers may lock this one between its creation and our lock:
/// then try again. Where the file system has no locks, nobody else gets one either.
void AtomicDirectory::create() {
  constexpr int kAttempts = 3;
  for (int attempt = 1; !lock_; ++attempt) {
    std::error_code error;
    temporary_ = detail::hidden_sibling(target_, "tmp");
    SLICE_CHECK_AS(Error, fs::create_directory(temporary_, error), "{}: cannot create it: {}",
                   temporary_.string(), error.message());
    try {
      lock_ = std::make_unique<detail::FileLock>(temporary_);
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
