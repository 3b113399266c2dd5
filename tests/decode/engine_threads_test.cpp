// An Engine and many threads: meant for ThreadSanitizer, too.

#include <ATen/ATen.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_all.hpp>
#include <fstream>
#include <random>
#include <thread>

#include "libslice/decode/engine.h"
#include "tests/support/engine_models.h"

namespace slice {
namespace {

using namespace tests;
using namespace std::chrono_literals;
using Ids = std::vector<int64_t>;

/// What a client did with a request.
enum class Client { kReads, kCancels, kVanishes, kLate, kHears };

TEST_CASE("texts of many threads that submit, cancel and vanish are those of generate") {
  constexpr int kThreads = 8, kRequests = 24, kKinds = 12;
  const auto model = shared_model();
  std::vector<Ids> want;
  for (int i = 0; i < kKinds; ++i) want.push_back(generated(*model, some_request(*model, i)));
  EngineOptions options = one_model(model, 3);
  options.queue = 6;
  options.prompt_chunk = 64;
  Engine engine(options);
  std::atomic<int> wrong = 0, refused = 0, taken = 0;
  const auto client = [&](int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    for (int i = 0; i < kRequests; ++i) {
      const int kind = static_cast<int>(random() % kKinds);
      const auto does = static_cast<Client>(random() % 5);
      const Ids& all = want[static_cast<size_t>(kind)];
      Request request = some_request(*model, kind);
      if (does == Client::kLate)
        request.deadline =
            std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 3000);
      Ids heard;
      if (does == Client::kHears)
        request.on_piece = [&heard](const TextPiece& piece) {
          heard.insert(heard.end(), piece.ids.begin(), piece.ids.end());
        };
      try {
        RequestHandle handle = engine.submit(std::move(request));
        ++taken;
        if (does == Client::kVanishes) continue;
        Ids ids;
        if (does == Client::kCancels) {
          if (const auto piece = handle.next()) ids = piece->ids;
          handle.cancel();
        }
        const RequestResult result = handle.wait();
        const Ids& rest = does == Client::kHears ? heard : result.texts[0].ids;
        ids.insert(ids.end(), rest.begin(), rest.end());
        const bool may_end = does == Client::kCancels || does == Client::kLate;
        const bool right =
            ids.size() <= all.size() && std::equal(ids.begin(), ids.end(), all.begin());
        if (!right || (ids.size() < all.size() && !may_end)) ++wrong;
      } catch (const QueueFull&) {
        ++refused;
        std::this_thread::sleep_for(1ms);
      }
      if (i % 8 == 0) engine.statistics();
    }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(client, thread);
  for (std::thread& thread : threads) thread.join();
  CHECK(engine.drain());
  CHECK(wrong == 0);
  const EngineStatistics s = engine.statistics();
  CHECK(s.submitted == taken);
  CHECK(s.refused == refused);
  CHECK(s.finished + s.cancelled + s.expired == taken);
  CHECK(s.failed == 0);
  CHECK(s.running == 0);
  CHECK(s.waiting == 0);
}

/// Bytes of this process in memory.
int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// Minutes; not part of the suite.
TEST_CASE("thousands of requests leave no memory behind", "[.soak]") {
  const auto model = shared_model();
  EngineOptions options = one_model(model, 4);
  options.prefix_bytes = 1 << 20;
  Engine engine(options);
  const auto run = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      Request request = some_request(*model, i % 50);
      request.texts = 1 + i % 3;
      if (i % 7 == 0) request.logprobs = 2;
      RequestHandle handle = engine.submit(std::move(request));
      if (i % 20 == 0) continue;  // vanishes
      if (i % 11 == 0) handle.cancel();
      handle.wait();
    }
  };
  run(1000);
  const int64_t before = resident_bytes();
  run(3000);
  INFO(before << " bytes before, " << resident_bytes() << " after");
  CHECK(resident_bytes() < before + before / 50);
}

TEST_CASE("an engine is stopped by any thread while others submit") {
  const auto model = shared_model();
  for (int repeat = 0; repeat < 5; ++repeat) {
    Engine engine(one_model(model, 2));
    std::atomic<int> ended = 0, begun = 0;
    const auto client = [&] {
      try {
        for (int64_t i = 0;; ++i) {
          RequestHandle handle = engine.submit(some_request(*model, i));
          ++begun;
          handle.wait();
          ++ended;
        }
      } catch (const EngineClosed&) {
      }
    };
    std::thread a(client), b(client);
    std::this_thread::sleep_for(10ms);
    std::thread c([&] { engine.stop(); }), d([&] { engine.stop(); });
    for (std::thread* thread : {&a, &b, &c, &d}) thread->join();
    CHECK(ended == begun);
  }
}

}  // namespace
}  // namespace slice
