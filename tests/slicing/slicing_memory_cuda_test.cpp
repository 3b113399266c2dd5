// Slicing on a GPU that has ever more memory, from none at all: a run ends in an error that says so
// or comes through, nothing is left half-written, and what comes through is right.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "libslice/base/partial_directory.h"
#include "libslice/checkpoint/model.h"
#include "libslice/device/device.h"
#include "libslice/slicing/slice_checkpoint.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/directory_contents.h"
#include "tests/support/matchers.h"
#include "tests/support/memory_limit.h"
#include "tests/support/require_gpu.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

const at::Device kGpu(at::kCUDA, 0);
constexpr int64_t kMebibyte = int64_t{1} << 20;  // LibTorch takes memory two of them at a time

/// Runs something while the GPU has `bytes` more than is held: empty where it came to its end, else
/// the message.
std::string outcome_of(int64_t bytes, const std::function<void()>& action) {
  const MemoryLimit limit(bytes);
  try {
    action();
    return {};
  } catch (const std::exception& error) {
    return error.what();
  }
}

bool speaks_of_memory(const std::string& message) {
  for (const char* words : {"out of memory", "no memory", "does not fit", "ALLOC_FAILED"})
    if (message.find(words) != std::string::npos) return true;
  return false;
}

/// Bytes that LibTorch takes of the GPU for an action.
int64_t peak_of(const std::function<void()>& action) {
  ops::on_device::release_cached_memory();
  c10::cuda::CUDACachingAllocator::resetPeakStats(0);
  const auto held = [](bool peak) {
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto bytes = c10::cuda::CUDACachingAllocator::getDeviceStats(0).reserved_bytes[all];
    return peak ? bytes.peak : bytes.current;
  };
  const int64_t before = held(false);
  action();
  return held(true) - before;
}

/// What a tiny model of some megabytes is sliced on.
struct Bench {
  ModelConfig config = tiny_config();
  Tensor calibration, tokens;

  Bench() {
    config.hidden_size = 120;
    config.head_size = 30;
    config.ffn_size = 400;
    config.vocabulary_size = 997;
    calibration = random_tokens(config, 64, 64);
    tokens = random_tokens(config, 2, 18);
  }
};

/// Limits from none to what an undisturbed run takes. `run` gives logits; what it throws is expected
/// to speak of memory, and `check` sees what it left.
void run_with_ever_more_memory(const std::function<Tensor()>& run,
                               const std::function<void(const std::string&)>& check) {
  const Tensor want = run();  // what is made once is made here
  const int64_t peak = peak_of([&] { run(); });
  const int64_t step = std::max(2 * kMebibyte, peak / 24);
  int64_t failed = 0;
  for (int64_t bytes = 0; bytes <= peak + step; bytes += step) {
    CAPTURE(bytes, peak);
    Tensor got;
    const std::string message = outcome_of(bytes, [&] { got = run(); });
    CAPTURE(message);
    failed += message.empty() ? 0 : 1;
    CHECK((message.empty() || speaks_of_memory(message)));
    if (message.empty()) CHECK(relative_difference(got, want) < 1e-5);
    check(message);
  }
  CHECK(failed > 0);
  CHECK(relative_difference(run(), want) < 1e-5);
}

SliceOptions options_of(Method method) {
  SliceOptions options;
  options.method = method;
  options.slice = 0.25;
  if (method == Method::kRefit) options.head = HeadMode::kSlice;
  return options;
}

TEST_CASE("slicing in the memory of a GPU survives every limit", "[cuda][cuda_memory]") {
  require_gpu();
  for (const Method method : {Method::kSliceGpt, Method::kRefit}) {
    CAPTURE(static_cast<int>(method));
    const Bench bench;
    const auto run = [&] {
      Model model = random_model(bench.config);
      model.decoder().to(kGpu);
      slice_model(model, bench.calibration, options_of(method));
      return model.decoder().forward(bench.tokens.to(kGpu)).cpu();
    };
    run_with_ever_more_memory(run, [](const std::string&) {});
  }
}

TEST_CASE("slicing layer by layer on a GPU survives every limit, and is resumed",
          "[cuda][cuda_memory]") {
  require_gpu();
  for (const Method method : {Method::kSliceGpt, Method::kRefit}) {
    CAPTURE(static_cast<int>(method));
    const Bench bench;
    const TemporaryDirectory scratch;
    const fs::path dense = scratch.path() / "dense", out = scratch.path() / "out";
    save_model(random_model(bench.config, 1, at::kFloat), dense, {.dtype = at::kFloat});
    const auto slice = [&](bool resume) {
      const auto checkpoint = open_checkpoint(dense);
      PartialDirectory output(out, {.replace = true, .resume = resume});
      slice_checkpoint(*checkpoint, bench.calibration, options_of(method), output.path(),
                       {.device = kGpu,
                        .dtype = at::kDouble,
                        .written = at::kFloat,
                        .journal = output.journal(),
                        .save_every = 1},
                       nullptr);
      output.commit();
    };
    const auto logits = [&] {
      return load_model(out, {.dtype = at::kDouble}).decoder().forward(bench.tokens);
    };
    const auto run = [&] {
      slice(false);
      return logits();
    };
    fs::remove_all(out);
    const Tensor want = run();
    run_with_ever_more_memory(run, [&](const std::string& message) {
      CHECK(relative_difference(logits(), want) < 1e-5);  // the old one, or the new one
      if (!message.empty() && fs::exists(scratch.path() / ".out.partial")) slice(/*resume=*/true);
      CHECK(relative_difference(logits(), want) < 1e-5);
      CHECK(names_in(scratch.path()) == std::set<std::string>{"dense", "out"});
    });
  }
}

}  // namespace
}  // namespace slice
