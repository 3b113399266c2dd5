// Every call of a kind that slicing makes of the system is made to fail, one a run: the run ends in
// an error or does without, what is at the target is the old model or the new one, and nothing else
// is left.

#include <ATen/Parallel.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <vector>

#include "libslice/base/atomic_directory.h"
#include "libslice/base/partial_directory.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/slicing/report.h"
#include "libslice/slicing/report_html.h"
#include "libslice/slicing/slice_checkpoint.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/fault_runs.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using Files = std::map<std::string, std::string>;

using FaultKinds = std::vector<FaultKind>;

const FaultKinds kKinds = {FaultKind::kOpen,   FaultKind::kRead,     FaultKind::kWrite,
                           FaultKind::kSync,   FaultKind::kRename,   FaultKind::kMap,
                           FaultKind::kThread, FaultKind::kAllocate, FaultKind::kTensor};
const FaultKinds kCalls(kKinds.begin(), kKinds.begin() + 7);  // all but those of memory
const FaultKinds kFiles(kKinds.begin(), kKinds.begin() + 3);
const Files kOld = {{"config.json", "{\"model_type\": \"llama\"}"}, {"old", "model"}};

/// A dense model, the windows to slice it on, and a place for the result.
class Bench {
 public:
  explicit Bench(const SliceOptions& options) : options_(options) {
    alarm(600);  // a run that is stuck ends the tests
    save_model(random_model(config_, 1, at::kFloat), file("dense"));
  }
  ~Bench() { alarm(0); }

  fs::path file(const std::string& name) const { return scratch_.path() / name; }

  /// The target holds an old model, or is not there.
  void prepare(bool old) const {
    for (const std::string& name : names_in(scratch_.path()))
      if (name != "dense") fs::remove_all(file(name));
    if (!old) return;
    fs::create_directory(file("out"));
    for (const auto& [name, bytes] : kOld) detail::write_file(file("out") / name, bytes);
  }

  void slice_in_memory() const {
    Model model = load_model(file("dense"));
    AtomicDirectory output(file("out"), /*replace=*/true);
    const SliceReport report = slice_model(model, tokens_, options_);
    write_model(model, output.path(), {.shard_bytes = 4000});
    save(report, output.path());
    output.commit();
  }

  void slice_layerwise(bool resume, const OnProgress& on_progress = {}) const {
    const auto checkpoint = open_checkpoint(file("dense"));
    PartialDirectory output(file("out"), {.replace = true, .resume = resume});
    const SliceReport report = slice_checkpoint(
        *checkpoint, tokens_, options_, output.path(),
        {.shard_bytes = 4000, .journal = output.journal(), .save_every = 1}, nullptr, on_progress);
    save(report, output.path());
    output.commit();
  }

  /// The files at the target that do not differ from run to run.
  Files weights() const {
    Files files = contents(file("out"));
    files.erase("slice_report.json");
    files.erase("slice_report.html");
    return files;
  }

  /// @param partial  what a run that is to be resumed left may be there
  void check(const std::string& message, const Files& want, bool old, bool partial) const {
    std::set<std::string> names = names_in(scratch_.path());
    if (partial && !message.empty()) names.erase(".out.partial");
    std::set<std::string> expected = {"dense"};
    if (old || message.empty() || fs::exists(file("out"))) expected.insert("out");
    CHECK(names == expected);
    if (!fs::exists(file("out"))) return;
    if (message.empty() || !fs::exists(file("out") / "old")) {
      CHECK(contents(file("out")).size() == want.size() + 2);  // the report too
      CHECK(weights() == want);
    } else {
      CHECK(contents(file("out")) == kOld);
    }
  }

 private:
  static void save(const SliceReport& report, const fs::path& directory) {
    save_report(report, directory / "slice_report.json");
    save_report_html(report, directory / "slice_report.html");
  }

  TemporaryDirectory scratch_;
  ModelConfig config_ = tiny_config();
  at::Tensor tokens_ = random_tokens(config_, 8, 16);
  SliceOptions options_;
};

const SliceOptions kSliceGpt{.method = Method::kSliceGpt, .slice = 0.3};
const SliceOptions kRefit{.slice = 0.3, .head = HeadMode::kSlice};

void check_in_memory(const char* name, const SliceOptions& options) {
  const Bench bench(options);
  bench.prepare(false);
  bench.slice_in_memory();
  const Files want = bench.weights();
  for (const FaultKind kind : kKinds) {
    const bool old = static_cast<int>(kind) % 2 == 0;
    const FaultRuns runs = run_with_faults(
        kind, [&] { bench.prepare(old); }, [&] { bench.slice_in_memory(); },
        [&](const std::string& message) { bench.check(message, want, old, /*partial=*/false); });
    report_runs(name, kind, runs);
  }
}

TEST_CASE("slicing in memory by slicegpt survives every fault") {
  check_in_memory("slicegpt in memory", kSliceGpt);
}

TEST_CASE("slicing in memory by refit survives every fault") {
  check_in_memory("refit in memory", kRefit);
}

/// Every run that failed is resumed, without a fault: the files are the same.
void check_layerwise(const char* name, const SliceOptions& options, bool resumes,
                     const FaultKinds& kinds) {
  const Bench bench(options);
  bench.prepare(false);
  bench.slice_layerwise(false);
  const Files want = bench.weights();
  const fs::path partial = bench.file(".out.partial");
  const TemporaryDirectory kept;
  if (resumes) {  // a run that was stopped in its second half
    bench.prepare(false);
    const auto stop = [](const Progress& progress) {
      if (progress.phase == "slice" && 2 * progress.step > progress.steps)
        throw Interrupted("enough");
    };
    CHECK_THROWS_AS(bench.slice_layerwise(false, stop), Interrupted);
    REQUIRE(fs::exists(partial));
    fs::copy(partial, kept.path() / "partial", fs::copy_options::recursive);
  }
  for (const FaultKind kind : kinds) {
    const bool old = static_cast<int>(kind) % 2 == 1;
    const FaultRuns runs = run_with_faults(
        kind,
        [&] {
          bench.prepare(old);
          if (resumes) fs::copy(kept.path() / "partial", partial, fs::copy_options::recursive);
        },
        [&] { bench.slice_layerwise(resumes); },
        [&](const std::string& message) {
          bench.check(message, want, old, /*partial=*/true);
          if (message.empty() || !fs::exists(partial)) return;
          bench.slice_layerwise(/*resume=*/true);
          bench.check("", want, old, /*partial=*/false);
        });
    report_runs(name, kind, runs);
  }
}

TEST_CASE("slicing layer by layer by slicegpt survives every fault, and is resumed") {
  check_layerwise("slicegpt layerwise", kSliceGpt, false, kKinds);
}

TEST_CASE("slicing layer by layer by refit survives every fault of its files, and is resumed") {
  check_layerwise("refit layerwise", kRefit, false, kFiles);
}

TEST_CASE("a resumed slicegpt survives every fault but of memory, and is resumed again") {
  check_layerwise("slicegpt resumed", kSliceGpt, true, kCalls);
}

TEST_CASE("a resumed refit survives every fault but of memory, and is resumed again") {
  check_layerwise("refit resumed", kRefit, true, kCalls);
}

TEST_CASE("a GGUF file and a report are whole or not there, whatever fails") {
  const TemporaryDirectory scratch;
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  SliceReport report;
  report.method = "slicegpt";
  const fs::path gguf = scratch.path() / "model.gguf", json = scratch.path() / "report.json";
  save_gguf(model, gguf);
  save_report(report, json);
  const Files want = contents(scratch.path());
  for (const FaultKind kind : kKinds) {
    const FaultRuns runs = run_with_faults(
        kind,
        [&] {
          fs::remove(gguf);
          detail::write_file(json, "old");
        },
        [&] {
          save_gguf(model, gguf);
          save_report(report, json);
        },
        [&](const std::string& message) {
          for (const auto& [name, bytes] : contents(scratch.path())) {
            REQUIRE(want.contains(name));
            CHECK((bytes == want.at(name) || (name == "report.json" && bytes == "old")));
          }
          CHECK((!message.empty() || contents(scratch.path()) == want));
        });
    report_runs("saving", kind, runs);
  }
}

}  // namespace
}  // namespace slice
