#include "libslice/base/detail/file.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <cerrno>
#include <map>
#include <string>

#include "libslice/base/detail/leftovers.h"
#include "libslice/base/detail/rename.h"
#include "libslice/base/error.h"
#include "tests/support/directory_contents.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using Files = std::map<std::string, std::string>;

void write(detail::AtomicFile& file, const std::string& text) {
  file.out().write(text.data(), text.size());
}

TEST_CASE("an atomic file that appeared meanwhile is replaced only where that was asked for") {
  const TemporaryDirectory scratch;
  const fs::path target = scratch.path() / "model.gguf";
  for (const bool replace : {false, true}) {
    fs::remove(target);
    detail::AtomicFile file(target, replace);
    write(file, "mine");
    scratch.write("model.gguf", "another's");
    if (replace) {
      file.commit();
    } else {
      CHECK_THROWS_NAMING(file.commit(), Error, "model.gguf: exists already");
    }
    CHECK(detail::read_text_file(target) == (replace ? "mine" : "another's"));
  }
  CHECK(contents(scratch.path()) == Files{{"model.gguf", "mine"}});
}

TEST_CASE("what a killed writer of a file left goes with the next one, a living one's stays") {
  const TemporaryDirectory scratch;
  const fs::path target = scratch.path() / "model.gguf";
  const Files others = {{".model.gguf.0123abcd.old", "x"}, {".model.gguf.0123abcd", "x"},
                        {".model.gguf.0123abc.tmp", "x"},  {".model.gguf.0123abcz.tmp", "x"},
                        {".other.gguf.0123abcd.tmp", "x"}, {"model.gguf.0123abcd.tmp", "x"}};
  for (const auto& [name, text] : others) scratch.write(name, text);
  const pid_t process = fork();
  if (process == 0) {
    detail::AtomicFile killed(target, false);
    write(killed, "half");
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(process, nullptr, 0);
  CHECK(contents(scratch.path()).size() == others.size() + 1);
  detail::AtomicFile living(target, false);
  CHECK(contents(scratch.path()).size() == others.size() + 1);  // the killed one's went
  write(living, "first");
  {
    detail::AtomicFile second(target, false);
    CHECK(contents(scratch.path()).size() == others.size() + 2);
  }
  living.commit();
  Files want = others;
  want["model.gguf"] = "first";
  CHECK(contents(scratch.path()) == want);
}

TEST_CASE("an atomic file in the working directory needs no name of it") {
  const TemporaryDirectory scratch;
  const fs::path before = fs::current_path();
  fs::current_path(scratch.path());
  scratch.write(".report.json.0123abcd.tmp", "half");
  {
    detail::AtomicFile file("report.json", false);
    write(file, "{}");
    file.commit();
  }
  fs::current_path(before);
  CHECK(contents(scratch.path()) == Files{{"report.json", "{}"}});
}

TEST_CASE("names are exchanged, and taken only where they are free") {
  const TemporaryDirectory scratch;
  const fs::path one = scratch.write("one", "1"), two = scratch.write("two", "2"),
                 free = scratch.path() / "free";
  CHECK(detail::rename_to_new(one, two) == EEXIST);
  CHECK(detail::rename_to_new(scratch.path() / "none", free) == ENOENT);
  CHECK(detail::rename_to_new(one, free) == 0);
  const int status = detail::exchange_names(free, two);
  CHECK((status == 0 || status == ENOTSUP));
  const bool exchanged = status == 0;
  CHECK(contents(scratch.path()) ==
        Files{{"free", exchanged ? "2" : "1"}, {"two", exchanged ? "1" : "2"}});
  CHECK(detail::exchange_names(scratch.path() / "none", two) != 0);
}

TEST_CASE("a lock is one process's, and of the file that has the name") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.write("file", "");
  {
    const detail::FileLock lock(path);
    CHECK_THROWS_NAMING(detail::FileLock(path), Error, "another process");
  }
  CHECK_NOTHROW(detail::FileLock(path));
  CHECK_NOTHROW(detail::FileLock(scratch.path()));
  CHECK_THROWS_NAMING(detail::FileLock(scratch.path() / "none"), Error, "cannot open it");
}

}  // namespace
}  // namespace slice
