#include "libslice/base/partial_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/directory.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/leftovers.h"

namespace slice {

namespace fs = std::filesystem;

namespace {

/// Removes what writers of single files left when they were killed: detail::AtomicFile's hidden
/// names.
void remove_temporaries(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") && name.ends_with(".tmp")) fs::remove(entry.path(), ignored);
  }
}

/// What names a directory in its file system besides its path; empty where there is none.
std::string number_of(const fs::path& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return {};
  return detail::formatted("{}:{}", status.st_dev, status.st_ino);
}

}  // namespace

PartialDirectory::PartialDirectory(const fs::path& target, const Options& options)
    : target_(detail::directory_target(target, options.replace)),
      partial_(target_.parent_path() /
               detail::formatted(".{}.partial", target_.filename().string())),
      replace_(options.replace) {
  std::error_code error;
  fs::create_directory(partial_, error);
  SLICE_CHECK_AS(Error, fs::is_directory(fs::symlink_status(partial_, error)),
                 "{}: cannot create it: {}", partial_.string(), error.message());
  struct stat status {};
  SLICE_CHECK_AS(Error, ::lstat(partial_.c_str(), &status) == 0 && status.st_uid == ::geteuid(),
                 "{}: belongs to another user", partial_.string());
  lock_ = std::make_unique<detail::FileLock>(partial_);
  // A commit killed between its two renames has moved the old target aside and put nothing in its
  // place; after one killed later the files are at the target, and what is here are leftovers.
  const bool committed = is_committed();
  if (!committed && fs::exists(old(), error) && !fs::exists(target_, error)) {
    fs::rename(old(), target_, error);
    SLICE_CHECK_AS(Error, !error, "{}: cannot put it back in place of {}: {}", old().string(),
                   target_.string(), error.message());
  }
  detail::directory_target(target_, replace_);
  const bool unfinished = !committed && resumable();
  SLICE_CHECK_AS(Error, !unfinished || options.resume || options.replace,
                 "{}: holds an unfinished run for {}: resume it, or force a new one",
                 partial_.string(), target_.string());
  if (unfinished && options.resume) {
    fs::remove(mark(), error);
    remove_temporaries(path());
    remove_temporaries(journal());
    return;
  }
  fs::remove_all(path(), error);
  fs::remove_all(journal(), error);
  fs::remove_all(old(), error);
  fs::remove(mark(), error);  // last: it says what these were
  SLICE_CHECK_AS(Error, fs::create_directory(path(), error), "{}: cannot create it: {}",
                 path().string(), error.message());
  SLICE_CHECK_AS(Error, fs::create_directory(journal(), error), "{}: cannot create it: {}",
                 journal().string(), error.message());
  detail::sync_directory(partial_);
  detail::sync_directory(partial_.parent_path());
}

PartialDirectory::~PartialDirectory() {
  if (done_ || resumable()) return;
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

bool PartialDirectory::resumable() const {
  std::error_code ignored;
  return fs::exists(journal(), ignored) && !fs::is_empty(journal(), ignored);
}

/// An exchange of names has put the old target where the files were.
bool PartialDirectory::is_committed() const {
  std::error_code ignored;
  if (!fs::is_directory(path(), ignored)) return true;
  return fs::exists(mark(), ignored) && detail::read_text_file(mark()) != number_of(path());
}

void PartialDirectory::commit() {
  std::error_code ignored;
  {
    const std::string number = number_of(path());
    detail::AtomicFile file(mark(), /*replace=*/true);
    file.out().write(number.data(), number.size());
    file.commit();
  }
  if (fs::exists(target_, ignored)) fs::remove_all(old(), ignored);  // one that is older still
  detail::put_directory(path(), target_, replace_, old());
  done_ = true;
  fs::remove_all(partial_, ignored);
}

}  // namespace slice
