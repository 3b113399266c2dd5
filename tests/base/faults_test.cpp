// The machinery that finds what faults break, on actions that are broken on purpose.

#include "tests/support/faults.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <filesystem>
#include <future>

#include "libslice/base/atomic_directory.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/partial_directory.h"
#include "tests/support/fault_runs.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;

TEST_CASE("the call that is asked for fails, and no other") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.write("file", "text");
  for (const int64_t at : {0, 1, 2, 3}) {
    const Fault fault(FaultKind::kRead, at);
    int64_t failed = 0;
    const detail::InputFile file(path);  // a small file is looked at for what Git LFS leaves
    for (int64_t call = 1; call <= 3; ++call) {
      try {
        file.text(0, 1);
      } catch (const Error& error) {
        CHECK(std::string(error.what()).find("cannot read: Input/output error") !=
              std::string::npos);
        failed = call;
      }
    }
    CHECK(failed == at);
    CHECK(fault.happened() == (at > 0));
  }
}

TEST_CASE("every kind of fault reaches what calls the system") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.path() / "file";
  const auto write = [&] {
    AtomicDirectory output(scratch.path() / "directory", /*replace=*/true);
    detail::AtomicFile file(path, /*replace=*/true);
    file.out().write("text", 4);
    file.commit();
    output.commit();
    fs::remove(scratch.path() / "directory");
    detail::read_text_file(path);
    std::async(std::launch::async, [] {}).get();
  };
  for (const FaultKind kind : {FaultKind::kOpen, FaultKind::kRead, FaultKind::kWrite,
                               FaultKind::kSync, FaultKind::kRename, FaultKind::kThread}) {
    CAPTURE(fault_name(kind));
    const Fault fault(kind, 0);
    write();
    CHECK(fault.calls() > 0);
  }
}

TEST_CASE("a descriptor that is leaked where a sync fails is seen") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.path() / "file";
  const auto leaking = [&] {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
    if (::fsync(file) != 0) throw Error("cannot sync");
    ::close(file);
  };
  const size_t before = open_descriptors();
  {
    const Fault fault(FaultKind::kSync, 1);
    CHECK(outcome_of(leaking, FaultKind::kSync) == "cannot sync");
  }
  CHECK(open_descriptors() == before + 1);  // what run_with_faults refuses
}

TEST_CASE("a file that is written in place is seen half written where a write fails") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.write("file", "old");
  const auto in_place = [&] { detail::write_file(path, "new text"); };
  const auto at_once = [&] {
    detail::AtomicFile file(path, /*replace=*/true);
    file.out().write("new text", 8);
    file.commit();
  };
  {
    const Fault fault(FaultKind::kWrite, 1);
    CHECK_FALSE(outcome_of(at_once, FaultKind::kWrite).empty());
  }
  CHECK(detail::read_text_file(path) == "old");
  CHECK(names_in(scratch.path()) == std::set<std::string>{"file"});
  {
    const Fault fault(FaultKind::kWrite, 1);
    CHECK_FALSE(outcome_of(in_place, FaultKind::kWrite).empty());
  }
  CHECK(detail::read_text_file(path) == "new ");
}

/// Place of an event, which must be there.
int64_t place_of(const std::vector<std::string>& events, const std::string& event,
                 int64_t from = 0) {
  CAPTURE(events, event);
  const auto found = std::find(events.begin() + from, events.end(), event);
  REQUIRE(found != events.end());
  return found - events.begin();
}

TEST_CASE("what has its name is on the disk: files, their directory, and the name itself") {
  const TemporaryDirectory scratch;
  const std::string parent = scratch.path(), target = scratch.path() / "out";
  for (const bool partial : {false, true}) {
    for (const bool replaces : {false, true}) {
      CAPTURE(partial, replaces);
      if (!replaces) fs::remove_all(target);
      std::string path;
      const DiskRecord record;
      const auto fill = [&](const fs::path& directory) {
        path = directory;
        detail::write_file(directory / "config.json", "{\"model_type\": \"llama\"}");
      };
      if (partial) {
        PartialDirectory output(target, {.replace = true});
        fill(output.path());
        output.commit();
      } else {
        AtomicDirectory output(target, /*replace=*/true);
        fill(output.path());
        output.commit();
      }
      const std::vector<std::string> events = record.events();
      const int64_t file = place_of(events, "sync " + path + "/config.json");
      const int64_t directory = place_of(events, "sync " + path, file);
      const std::string how = replaces ? "exchange " : "rename ";
      const int64_t renamed = place_of(events, how + path + " " + target, directory);
      place_of(events, "sync " + parent, renamed);
    }
  }
  const DiskRecord record;
  const std::string file = scratch.path() / "file";
  detail::AtomicFile one(file, /*replace=*/false);
  one.commit();
  const std::vector<std::string> events = record.events();
  const auto is_rename = [&](const std::string& event) {
    return event.starts_with("rename ") && event.ends_with(" " + file);
  };
  const auto renamed = std::find_if(events.begin(), events.end(), is_rename);
  REQUIRE(renamed != events.end());
  place_of(events, "sync " + parent, renamed - events.begin());
}

}  // namespace
}  // namespace slice
