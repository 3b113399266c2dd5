#include "libslice/device/process_group.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cstdlib>
#include <map>
#include <mutex>

#include "libslice/base/error.h"
#include "libslice/device/device.h"
#include "libslice/method/covariance.h"
#include "libslice/method/window_share.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/ranks.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

const std::vector<std::string> kNothingThrown3 = {"", "", ""};

/// Sets environment variables, and puts them back.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT",
                             "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"}) {
      const char* before = std::getenv(name);
      if (before != nullptr) before_[name] = before;
      names_.emplace_back(name);
      unsetenv(name);
    }
    for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const std::string& name : names_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::string> before_;
};

TEST_CASE("a process alone is rank 0 of 1, and calls do nothing") {
  const ProcessGroup alone;
  CHECK(alone.rank() == 0);
  CHECK(alone.size() == 1);
  CHECK(alone.share(7) == std::pair<int64_t, int64_t>(0, 7));
  Tensor t = at::arange(6, at::kDouble);
  alone.sum_inplace(t);
  alone.copy_from_inplace(0, t);
  alone.gather_rows_inplace(t);
  alone.together([&] { alone.sum_inplace(t); });
  CHECK(at::equal(t, at::arange(6, at::kDouble)));
  CHECK(alone.sum(2.5) == 2.5);
  CHECK_THROWS_AS(alone.send(t, 1), Error);
}

TEST_CASE("the environment names the place where the processes meet") {
  {
    const Environment none(std::map<std::string, std::string>{});
    CHECK_FALSE(rendezvous_from_environment());
  }
  {
    const Environment plain({{"WORLD_SIZE", "4"}, {"RANK", "2"}});
    const auto meeting = rendezvous_from_environment();
    REQUIRE(meeting);
    CHECK(meeting->rank == 2);
    CHECK(meeting->size == 4);
    CHECK(meeting->local_rank == 2);
    CHECK(meeting->address == "127.0.0.1");
    CHECK(meeting->port == 29500);
    CHECK_FALSE(meeting->launcher_serves);
  }
  {
    const Environment torchrun({{"WORLD_SIZE", "16"},
                                {"RANK", "9"},
                                {"LOCAL_RANK", "1"},
                                {"MASTER_ADDR", "node0"},
                                {"MASTER_PORT", "1234"},
                                {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                {"TORCHELASTIC_RESTART_COUNT", "3"}});
    const auto meeting = rendezvous_from_environment();
    REQUIRE(meeting);
    CHECK(meeting->local_rank == 1);
    CHECK(meeting->address == "node0");
    CHECK(meeting->port == 1234);
    CHECK(meeting->launcher_serves);
    CHECK(meeting->prefix == "/worker/attempt_3");
  }
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"WORLD_SIZE", "two"}, {"RANK", "4"}, {"LOCAL_RANK", "-1"}, {"MASTER_PORT", "70000"}}) {
    std::map<std::string, std::string> values = {{"WORLD_SIZE", "4"}, {"RANK", "2"}};
    values[name] = value;
    const Environment wrong(values);
    CHECK_THROWS_WITH(rendezvous_from_environment(), Catch::Matchers::ContainsSubstring(name));
  }
  const Environment no_rank(std::map<std::string, std::string>{{"WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH(rendezvous_from_environment(), Catch::Matchers::ContainsSubstring("RANK"));
}

TEST_CASE("three ranks add, copy, gather and send") {
  std::vector<Tensor> sums(3), copies(3), rows(3), received(3), strided(3);
  std::vector<double> numbers(3);
  const auto thrown = run_ranks(3, [&](const ProcessGroup& group) {
    const int64_t rank = group.rank();
    sums[rank] = at::full({2, 5}, static_cast<double>(rank + 1), at::kDouble);
    group.sum_inplace(sums[rank]);
    strided[rank] = at::full({5, 4}, static_cast<double>(rank + 1), at::kDouble);
    Tensor columns = strided[rank].slice(1, 1, 3);
    group.sum_inplace(columns);
    copies[rank] = at::full({3}, rank, at::kLong);
    group.copy_from_inplace(2, copies[rank]);
    rows[rank] = at::zeros({7, 2}, at::kFloat);
    const auto [begin, end] = group.share(7);
    rows[rank].slice(0, begin, end).fill_(rank + 1);
    group.gather_rows_inplace(rows[rank]);
    numbers[rank] = group.sum(0.5) + group.copy_from(1, static_cast<double>(rank));
    received[rank] = at::zeros({4}, at::kHalf);
    if (rank == 0) group.send(at::full({4}, 7, at::kHalf), 2);
    if (rank == 2) group.receive_inplace(received[rank], 0);
  });
  REQUIRE(thrown == kNothingThrown3);
  const Tensor want_rows = at::tensor({1.f, 1.f, 2.f, 2.f, 3.f, 3.f, 3.f}).unsqueeze(1);
  for (int64_t rank = 0; rank < 3; ++rank) {
    CHECK(at::equal(sums[rank], at::full({2, 5}, 6.0, at::kDouble)));
    CHECK(at::equal(strided[rank].slice(1, 1, 3), at::full({5, 2}, 6.0, at::kDouble)));
    CHECK((strided[rank].select(1, 0) == static_cast<double>(rank + 1)).all().item<bool>());
    CHECK(at::equal(copies[rank], at::full({3}, 2, at::kLong)));
    CHECK(at::equal(rows[rank], want_rows.expand({7, 2})));
    CHECK(numbers[rank] == 2.5);
  }
  CHECK(at::equal(received[2], at::full({4}, 7, at::kHalf)));
}

TEST_CASE("a rank that leaves is an error of the others, not a wait") {
  const auto thrown = run_ranks(3, [](const ProcessGroup& group) {
    if (group.rank() == 1) throw Error("enough");
    Tensor t = at::ones({1000}, at::kDouble);
    group.sum_inplace(t);
  });
  CHECK(thrown[1] == "enough");
  for (const int64_t rank : {0, 2}) {
    INFO(thrown[rank]);
    CHECK(thrown[rank].starts_with("rank " + std::to_string(rank) +
                                   " of 3: a sum: lost contact with another rank"));
  }
}

TEST_CASE("a rank without the others does not wait forever") {
  const Rendezvous meeting{.rank = 0, .size = 2, .port = free_port()};
  CHECK_THROWS_AS(ProcessGroup(meeting, at::kCPU, std::chrono::milliseconds(300)), Error);
}

TEST_CASE("windows are shared out whole, where it is cheap in whole blocks") {
  std::map<int64_t, std::pair<int64_t, int64_t>> shares;
  std::mutex lock;
  const auto shared = [&](int64_t n, int64_t T) {
    const auto thrown = run_ranks(3, [&](const ProcessGroup& group) {
      const auto share = detail::window_share(n, T, group);
      const std::lock_guard guard(lock);
      shares[group.rank()] = share;
    });
    REQUIRE(thrown == kNothingThrown3);
    CHECK(shares[0].first == 0);
    CHECK(shares[0].second == shares[1].first);
    CHECK(shares[1].second == shares[2].first);
    CHECK(shares[2].second == n);
    for (const auto& [rank, share] : shares) CHECK(share.second > share.first);
  };
  shared(3, 2048);
  shared(10, 20);
  shared(128, 2048);
  CHECK(shares[0].second % 2 == 0);
  CHECK(shares[1].second % 2 == 0);
  const auto few =
      run_ranks(3, [](const ProcessGroup& group) { detail::window_share(2, 2048, group); });
  for (const std::string& words : few)
    CHECK(words == "calibration: 2 windows are too few for 3 processes");
}

TEST_CASE("covariances of ranks are one rank's, the same bits on all") {
  const Tensor z = gaussian({9000, 12}, 4);
  Covariance whole(12);
  whole.accumulate(z);
  std::vector<Tensor> sums(3);
  const auto thrown = run_ranks(3, [&](const ProcessGroup& group) {
    const auto [begin, end] = group.share(9000);
    Covariance own(12);
    own.accumulate(z.slice(0, begin, end));
    sums[group.rank()] = own.matrix(group);
  });
  REQUIRE(thrown == kNothingThrown3);
  const Tensor want = whole.matrix();
  const Tensor bound = sum_bound(z.abs().t().mm(z.abs()), 9000, at::kDouble);
  CHECK(violation(sums[0], want, bound) == "");
  CHECK(at::equal(sums[1], sums[0]));
  CHECK(at::equal(sums[2], sums[0]));
}

TEST_CASE("a rank of its own on a GPU adds and copies through NCCL", "[cuda]") {
  if (!at::hasCUDA()) SKIP("no GPU");
  const at::Device device = choose_device(at::kCUDA);
  const ProcessGroup group({.port = free_port()}, device);
  Tensor t = at::arange(1000, at::TensorOptions(device).dtype(at::kDouble));
  group.sum_inplace(t);
  group.copy_from_inplace(0, t);
  group.gather_rows_inplace(t);
  group.together([&] { group.sum_inplace(t); });
  CHECK(at::equal(t.cpu(), at::arange(1000, at::kDouble)));
  CHECK(group.sum(3.0) == 3.0);
}

}  // namespace
}  // namespace slice
