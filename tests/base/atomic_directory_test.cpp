#include "libslice/base/atomic_directory.h"

#include <catch2/catch_all.hpp>
#include <fstream>
#include <set>

#include "libslice/base/error.h"
#include "tests/support/directory_contents.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;

/// A directory of a model, by what every model's has.
void make_model(const fs::path& path) {
  fs::create_directory(path);
  std::ofstream(path / "config.json") << "{\"model_type\": \"llama\"}";
}

TEST_CASE("an atomic directory appears with all it holds, or not at all") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  {
    AtomicDirectory output(target, false);
    std::ofstream(output.path() / "file") << "text";
    fs::create_directory(output.path() / "deeper");
    CHECK_FALSE(fs::exists(target));
    CHECK(output.path().parent_path() == parent.path());
    CHECK(output.path().filename().string().starts_with(".model."));
  }  // a crash, an exception
  CHECK(names_in(parent.path()).empty());
  {
    AtomicDirectory output(target.string() + "/", false);
    std::ofstream(output.path() / "file") << "text";
    output.commit();
  }
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
  CHECK(names_in(target) == std::set<std::string>{"file"});
}

TEST_CASE("an atomic directory refuses a target that exists, or replaces it when asked") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  make_model(target);
  CHECK_THROWS_NAMING(AtomicDirectory(target, false), Error, "model: exists already");
  { AtomicDirectory output(target, true); }
  CHECK(names_in(target) == std::set<std::string>{"config.json"});
  {
    AtomicDirectory output(target, true);
    std::ofstream(output.path() / "new") << "text";
    CHECK(names_in(target) == std::set<std::string>{"config.json"});
    output.commit();
  }
  CHECK(names_in(target) == std::set<std::string>{"new"});
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});

  CHECK_THROWS_NAMING(AtomicDirectory(parent.path() / "no" / "model", false), Error,
                      "cannot create it");
  CHECK_THROWS_NAMING(AtomicDirectory(parent.write("file", ""), true), Error,
                      "file: is not a directory");
  fs::create_symlink("nowhere", parent.path() / "dangling");
  CHECK_THROWS_NAMING(AtomicDirectory(parent.path() / "dangling", false), Error,
                      "dangling: exists already");
  CHECK_THROWS_NAMING(AtomicDirectory(parent.path() / "dangling", true), Error,
                      "dangling: is not a directory");
  CHECK_THROWS_NAMING(AtomicDirectory("/", true), Error, "/");
}

TEST_CASE("a target that appeared meanwhile is not overwritten") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  {
    AtomicDirectory output(target, false);
    fs::create_directory(target);  // empty: a plain rename would replace it
    CHECK_THROWS_NAMING(output.commit(), Error, "model: exists already");
  }
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
}

TEST_CASE("a replacement that fails puts the old directory back") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  make_model(target);
  {
    AtomicDirectory output(target, true);
    fs::remove_all(output.path());  // what is to be renamed is gone
    CHECK_THROWS_NAMING(output.commit(), Error, "model: cannot rename");
  }
  CHECK(names_in(target) == std::set<std::string>{"config.json"});
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
}

TEST_CASE("what a killed process left is removed by the next one for the same target only") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model";
  const std::set<std::string> others = {".model.0123456789.tmp", ".model2.0123abcd.old",
                                        ".model2.0123abcd.tmp", "0123abcd.tmp"};
  for (const std::string& name : others) fs::create_directory(parent.path() / name);
  fs::create_directories(parent.path() / ".model.0123abcd.tmp" / "deeper");
  std::ofstream(parent.path() / ".model.0123abcd.tmp" / "file") << "half a model";
  std::ofstream(parent.path() / ".model.00000000.tmp") << "a file";
  {
    const AtomicDirectory living(target, false);
    CHECK_FALSE(fs::exists(parent.path() / ".model.0123abcd.tmp"));
    AtomicDirectory second(target, false);
    CHECK(fs::exists(living.path()));
    second.commit();
    CHECK(fs::exists(living.path()));
  }
  std::set<std::string> left = others;
  left.insert({"model", ".model.00000000.tmp"});
  CHECK(names_in(parent.path()) == left);
}

TEST_CASE("an old target that a killed process had moved aside comes back, or goes") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "model", old = parent.path() / ".model.0123abcd.old";
  make_model(old);
  CHECK_THROWS_NAMING(AtomicDirectory(target, false), Error, "model: exists already");
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
  CHECK(names_in(target) == std::set<std::string>{"config.json"});
  make_model(old);
  std::ofstream(old / "more") << "text";
  { AtomicDirectory output(target, true); }
  CHECK(names_in(parent.path()) == std::set<std::string>{"model"});
  CHECK(names_in(target) == std::set<std::string>{"config.json"});
}

TEST_CASE("nothing is replaced but an empty directory and that of a model") {
  const TemporaryDirectory parent;
  const fs::path target = parent.path() / "photographs";
  fs::create_directory(target);
  { const AtomicDirectory output(target, true); }
  for (const char* config : {"", "{\"name\": \"web page\"}", "[1]", "{"}) {
    CAPTURE(config);
    std::ofstream(target / "holiday.jpg") << "picture";
    if (*config != '\0') std::ofstream(target / "config.json") << config;
    CHECK_THROWS_NAMING(AtomicDirectory(target, true), Error,
                        "photographs: is not a directory that can be replaced: neither empty");
    CHECK(fs::exists(target / "holiday.jpg"));
  }
  std::ofstream(target / "config.json") << "{\"architectures\": [\"OPTForCausalLM\"]}";
  AtomicDirectory output(target, true);
  output.commit();
  CHECK(names_in(target).empty());
}

}  // namespace
}  // namespace slice
