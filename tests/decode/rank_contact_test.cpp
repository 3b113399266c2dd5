#include "libslice/decode/detail/rank_contact.h"

#include <array>
#include <atomic>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <latch>
#include <memory>
#include <thread>

#include "libslice/base/error.h"
#include "libslice/device/process_group.h"
#include "tests/support/child_process.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using namespace tests;
using namespace std::chrono_literals;
using detail::RankContact;
using Clock = std::chrono::steady_clock;

/// Whether something happens before some time is over.
bool comes_within(std::chrono::milliseconds time, const std::atomic<bool>& happens) {
  const auto end = Clock::now() + time;
  while (!happens && Clock::now() < end) std::this_thread::sleep_for(1ms);
  return happens;
}

TEST_CASE("ranks that leave together lose nothing, a rank alone neither") {
  for (const int64_t ranks : {1, 2, 3}) {
    std::vector<std::atomic<bool>> lost(ranks);
    const auto thrown = run_ranks(ranks, [&](const ProcessGroup& group) {
      const int64_t rank = group.rank();
      for (int turn = 0; turn < 3; ++turn) {
        RankContact contact(group, [&, rank] { lost[rank] = true; });
        std::this_thread::sleep_for(20ms * rank);
        contact.leave();
      }
    });
    CHECK(thrown == std::vector<std::string>(ranks));
    for (const auto& one : lost) CHECK_FALSE(one);
  }
}

TEST_CASE("a rank that hangs up is lost by all, itself too") {
  std::array<std::atomic<bool>, 3> lost = {};
  std::latch all(3);
  const auto thrown = run_ranks(3, [&](const ProcessGroup& group) {
    const int64_t rank = group.rank();
    RankContact contact(group, [&, rank] { lost[rank] = true; });
    if (rank == 1) contact.hang_up();
    comes_within(900ms, lost[rank]);
    all.arrive_and_wait();
  });
  CHECK(thrown == std::vector<std::string>(3));
  for (const auto& one : lost) CHECK(one);
}

TEST_CASE("a rank that leaves while another works on is lost after a while, and waits for it") {
  std::array<std::atomic<bool>, 2> lost = {};
  std::atomic<bool> soon = true, done = false, waited = false;
  const auto thrown = run_ranks(2, [&](const ProcessGroup& group) {
    const int64_t rank = group.rank();
    RankContact contact(group, [&, rank] { lost[rank] = true; });
    if (rank == 0) {
      contact.leave();
      waited = done.load();
      return;
    }
    soon = comes_within(RankContact::kGrace / 2, lost[rank]);
    comes_within(4 * RankContact::kGrace, lost[rank]);
    done = true;
    contact.leave();
  });
  CHECK(thrown == std::vector<std::string>(2));
  CHECK_FALSE(soon);
  CHECK(lost[1]);
  CHECK_FALSE(lost[0]);
  CHECK(waited);
}

/// The rank of torchrun's variables, which waits to be killed.
TEST_CASE("a rank that waits to be killed", "[.]") {
  const auto meeting = rendezvous_from_environment();
  if (!meeting) SKIP("the next case starts it");
  const ProcessGroup group(*meeting, at::kCPU, 60s);
  std::atomic<bool> lost = false;
  const RankContact contact(group, [&] { lost = true; });
  comes_within(60s, lost);
}

TEST_CASE("a rank that is killed is lost at once") {
  const TemporaryDirectory scratch;
  const int64_t port = free_port();
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").filename();
  const Child other(scratch.path(), {program, "a rank that waits to be killed"}, 0,
                    {"WORLD_SIZE=2", "RANK=1", "MASTER_PORT=" + std::to_string(port)});
  const ProcessGroup group({.size = 2, .port = port}, at::kCPU, 60s);
  std::atomic<bool> lost = false;
  RankContact contact(group, [&] { lost = true; });
  CHECK_FALSE(comes_within(50ms, lost));
  other.kill_at_once();
  CHECK(comes_within(1s, lost));
  contact.leave();
  CHECK(other.wait().code == -SIGKILL);
}

}  // namespace
}  // namespace slice
