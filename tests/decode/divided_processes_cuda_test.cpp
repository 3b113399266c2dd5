// Processes that share one GPU, a rank each, as torchrun starts them. They take turns on it, so that
// they show what is computed and what ends when, not how fast.

#include <catch2/catch_all.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "libslice/decode/generator.h"
#include "tests/support/child_process.h"
#include "tests/support/gpu_ranks.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// This program with a filter, once a rank.
class Ranks {
 public:
  Ranks(int64_t count, const std::string& filter) {
    const std::string port = std::to_string(free_port()), size = std::to_string(count),
                      program = std::filesystem::read_symlink("/proc/self/exe").filename();
    for (int64_t rank = 0; rank < count; ++rank) {
      scratches_.push_back(std::make_unique<TemporaryDirectory>());
      processes_.push_back(std::make_unique<Child>(
          scratches_.back()->path(), std::vector{program, filter}, 0,
          std::vector<std::string>{"WORLD_SIZE=" + size, "RANK=" + std::to_string(rank),
                                   "LOCAL_RANK=0", "MASTER_ADDR=127.0.0.1",
                                   "MASTER_PORT=" + port}));
    }
  }
  int64_t count() const { return std::ssize(processes_); }
  const Child& operator[](int64_t rank) const { return *processes_[static_cast<size_t>(rank)]; }
  /// Waits until a rank says some words on stderr. @return  whether that is within a time
  bool says(int64_t rank, const std::string& words, std::chrono::milliseconds time) const {
    const auto end = Clock::now() + time;
    while (detail::read_text_file((*this)[rank].err()).find(words) == std::string::npos) {
      if (Clock::now() > end) return false;
      std::this_thread::sleep_for(5ms);
    }
    return true;
  }

 private:
  std::vector<std::unique_ptr<TemporaryDirectory>> scratches_;
  std::vector<std::unique_ptr<Child>> processes_;
};

TEST_CASE("processes that share a GPU write what it writes alone", "[cuda]") {
  require_gpu();
  for (const int64_t count : {2, 3}) {
    const Ranks ranks(count, "[processes]");
    for (int64_t rank = 0; rank < count; ++rank) {
      const Outcome outcome = ranks[rank].wait();
      INFO("rank " << rank << " of " << count << "\n" << outcome.out << outcome.err);
      CHECK(outcome.code == 0);
    }
  }
}

/// Writes until another rank fails.
TEST_CASE("a rank that decodes on and on", "[.]") {
  if (process_ranks().alone()) SKIP("the next case starts it");
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  const DividedModel model = divided_model(path, at::kFloat);
  Generator generator(model, 50);
  const at::Tensor prompt = random_tokens(tiny_config(), 1, 5);
  try {
    while (true) {
      generator.truncate(0);
      generator.feed(prompt);
      generator.continue_greedy(45);
      std::fputs("decoding\n", stderr);
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

TEST_CASE("when one of some processes is killed, the others say so and end within 2 s", "[cuda]") {
  require_gpu();
  for (const int64_t count : {2, 3}) {
    const Ranks ranks(count, "a rank that decodes on and on");
    for (int64_t rank = 0; rank < count; ++rank) REQUIRE(ranks.says(rank, "decoding", 60s));
    const auto begin = Clock::now();
    ranks[1].kill_at_once();
    CHECK(ranks[1].wait().code == -SIGKILL);
    for (int64_t rank = 0; rank < count; ++rank) {
      if (rank == 1) continue;
      INFO("rank " << rank << " of " << count);
      CHECK(ranks.says(rank, "lost contact with another GPU", 2s));
      CHECK(ranks[rank].wait().code == 0);
    }
    CHECK(Clock::now() - begin < 2s);
  }
}

}  // namespace
}  // namespace slice
