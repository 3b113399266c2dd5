#include "libslice/decode/detail/rank_threads.h"

#include <atomic>
#include <catch2/catch_all.hpp>
#include <latch>
#include <stdexcept>
#include <thread>
#include <vector>

namespace slice {
namespace {

using detail::RankThreads;

const std::vector<at::Device> kRanks(3, at::Device(at::kCPU));

TEST_CASE("a thread a rank runs a task, all of them at the same time") {
  RankThreads threads(kRanks, [] {});
  REQUIRE(threads.size() == 3);
  std::vector<std::thread::id> first(3), second(3);
  threads.run([&, together = std::make_shared<std::latch>(3)](int64_t rank) {
    together->arrive_and_wait();
    first[static_cast<size_t>(rank)] = std::this_thread::get_id();
  });
  threads.run(
      [&](int64_t rank) { second[static_cast<size_t>(rank)] = std::this_thread::get_id(); });
  CHECK(first == second);
  CHECK(first[0] != first[1]);
  CHECK(first[1] != first[2]);
}

TEST_CASE("a rank that fails frees the others, and its error is the call's") {
  std::atomic<bool> stopped = false;
  RankThreads threads(kRanks, [&] { stopped = true; });
  for (int call = 0; call < 3; ++call) {
    stopped = false;
    CHECK_THROWS_WITH(threads.run([&](int64_t rank) {
      if (rank == 1) throw std::runtime_error("rank 1");
      while (!stopped) std::this_thread::yield();  // as who waits for it
    }),
                      "rank 1");
    std::atomic<int> ran = 0;
    threads.run([&](int64_t) { ++ran; });
    CHECK(ran == 3);
  }
}

}  // namespace
}  // namespace slice
