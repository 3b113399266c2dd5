#include "libslice/base/partial_directory.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <memory>
#include <set>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "tests/support/directory_contents.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using Files = std::map<std::string, std::string>;

/// A run that got as far as to write something, and died.
void leave_unfinished(const fs::path& target, bool replace = false) {
  PartialDirectory output(target, {.replace = replace});
  detail::write_file(output.path() / "half", "text");
  detail::write_file(output.journal() / "done", "so far");
  CHECK(output.resumable());
}

constexpr char kConfig[] = "{\"model_type\": \"llama\"}";

TEST_CASE("a partial directory appears with all it holds, or leaves no trace") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  {
    PartialDirectory output(target.string() + "/", {});
    detail::write_file(output.path() / "file", "text");
    CHECK_FALSE(output.resumable());
    CHECK(names_in(parent.path()) == std::set<std::string>{".model.partial"});
  }  // nothing to resume
  CHECK(names_in(parent.path()).empty());
  {
    PartialDirectory output(target, {});
    detail::write_file(output.path() / "file", "text");
    detail::write_file(output.journal() / "done", "all");
    output.commit();
  }
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
  CHECK(contents(target) == Files{{"file", "text"}});
}

TEST_CASE("an unfinished directory is resumed or replaced when asked, else refused") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  leave_unfinished(target);
  CHECK(names_in(parent.path()) == std::set<std::string>{".model.partial"});
  CHECK_THROWS_NAMING(PartialDirectory(target, {}), Error, "holds an unfinished run");
  {
    const PartialDirectory output(target, {.resume = true});
    CHECK(contents(output.path()) == Files{{"half", "text"}});
    CHECK(contents(output.journal()) == Files{{"done", "so far"}});
  }
  {
    PartialDirectory output(target, {.replace = true, .resume = true});
    CHECK(contents(output.path()) == Files{{"half", "text"}});
  }
  {
    const PartialDirectory output(target, {.replace = true});
    CHECK(contents(output.path()).empty());
    CHECK_FALSE(output.resumable());
  }
  CHECK(names_in(parent.path()).empty());
  { const PartialDirectory output(target, {.resume = true}); }  // nothing to resume is no error
}

TEST_CASE("files without a journal, and a journal without files, are no unfinished run") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  leave_unfinished(target);
  fs::remove(parent.path() / ".model.partial" / "journal" / "done");
  {
    const PartialDirectory output(target, {});
    CHECK(contents(output.path()).empty());
  }
  leave_unfinished(target);
  fs::remove_all(parent.path() / ".model.partial" / "model");  // what a killed commit had moved
  const PartialDirectory output(target, {.resume = true});
  CHECK(contents(output.path()).empty());
  CHECK(contents(output.journal()).empty());
}

TEST_CASE("a file that was being written when a run was killed is not resumed with") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model", partial = parent.path() / ".model.partial";
  leave_unfinished(target);
  detail::write_file(partial / "model" / ".slice_report.json.00c0ffee.tmp", "{");
  detail::write_file(partial / "journal" / ".run.json.00c0ffee.tmp", "{");
  const PartialDirectory output(target, {.resume = true});
  CHECK(contents(output.path()) == Files{{"half", "text"}});
  CHECK(contents(output.journal()) == Files{{"done", "so far"}});
}

TEST_CASE("one process at a time works in a partial directory") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  const auto output = std::make_unique<PartialDirectory>(target, PartialDirectory::Options{});
  CHECK_THROWS_NAMING(PartialDirectory(target, {.resume = true}), Error, "another process");
  CHECK_THROWS_NAMING(PartialDirectory(target, {.replace = true}), Error, "another process");
  CHECK(fs::exists(output->path()));
}

TEST_CASE("a target stays until its replacement is whole") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  fs::create_directory(target);
  detail::write_file(target / "config.json", kConfig);
  CHECK_THROWS_NAMING(PartialDirectory(target, {}), Error, "model: exists already");
  CHECK_THROWS_NAMING(PartialDirectory(target, {.resume = true}), Error, "model: exists already");
  leave_unfinished(target, /*replace=*/true);
  CHECK(contents(target) == Files{{"config.json", kConfig}});
  {
    PartialDirectory output(target, {.replace = true, .resume = true});
    output.commit();
  }
  CHECK(contents(target) == Files{{"half", "text"}});
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
  CHECK_THROWS_NAMING(PartialDirectory(parent.write("file", ""), {.replace = true}), Error,
                      "file: is not a directory");
  CHECK_THROWS_NAMING(PartialDirectory(parent.path() / "no" / "model", {}), Error,
                      "cannot create it");
}

TEST_CASE("a commit killed between its two renames puts the old target back") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  leave_unfinished(target);
  fs::create_directory(parent.path() / ".model.partial" / "old");
  detail::write_file(parent.path() / ".model.partial" / "old" / "config.json", kConfig);
  CHECK_THROWS_NAMING(PartialDirectory(target, {.resume = true}), Error, "model: exists already");
  CHECK(contents(target) == Files{{"config.json", kConfig}});
  PartialDirectory output(target, {.replace = true, .resume = true});
  output.commit();
  CHECK(contents(target) == Files{{"half", "text"}});
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
}

TEST_CASE("a commit killed after its renames leaves nothing that comes back") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model", partial = parent.path() / ".model.partial";
  for (const bool resume : {false, true}) {
    leave_unfinished(target);
    fs::create_directory(partial / "old");
    detail::write_file(partial / "old" / "file", "text");
    fs::rename(partial / "model", target);
    CHECK_THROWS_NAMING(PartialDirectory(target, {.resume = resume}), Error, "exists already");
    fs::remove_all(target);  // by its owner
    PartialDirectory output(target, {.resume = resume});
    CHECK_FALSE(output.resumable());
    output.commit();
    CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
    CHECK(contents(target).empty());
    fs::remove_all(target);
  }
}

TEST_CASE("a commit killed after names were exchanged is one that was done") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model", partial = parent.path() / ".model.partial";
  for (const bool exchanged : {false, true}) {
    CAPTURE(exchanged);
    fs::create_directory(target);
    detail::write_file(target / "config.json", kConfig);
    leave_unfinished(target, /*replace=*/true);
    detail::write_file(partial / "model" / "config.json", kConfig);
    struct stat status {};
    REQUIRE(::stat((partial / "model").c_str(), &status) == 0);
    detail::write_file(partial / "committing", fmt::format("{}:{}", status.st_dev, status.st_ino));
    if (exchanged) {
      fs::rename(target, parent.path() / "aside");
      fs::rename(partial / "model", target);
      fs::rename(parent.path() / "aside", partial / "model");
    }
    {
      const PartialDirectory output(target, {.replace = true, .resume = true});
      CHECK(output.resumable() == !exchanged);
      CHECK(fs::exists(output.path() / "half") == !exchanged);
    }
    CHECK(fs::exists(target / "half") == exchanged);
    fs::remove_all(target);
    fs::remove_all(partial);
  }
}

TEST_CASE("a partial directory of another user is left alone") {
  if (::geteuid() != 0) SKIP("only root can give a directory away");
  const TemporaryDirectory parent;
  const fs::path partial = parent.path() / ".model.partial";
  fs::create_directory(partial);
  REQUIRE(::chown(partial.c_str(), 12345, 12345) == 0);
  for (const bool resume : {false, true})
    CHECK_THROWS_NAMING(PartialDirectory(parent.path() / "model", {.resume = resume}), Error,
                        "belongs to another user");
}

}  // namespace
}  // namespace slice
