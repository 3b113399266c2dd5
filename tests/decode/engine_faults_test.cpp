// An Engine whose calls of the system fail, one a run: a request ends with an error or with its own
// text, nothing waits for ever, and the engine serves the next one.

#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <thread>

#include "libslice/decode/engine.h"
#include "tests/support/engine_models.h"
#include "tests/support/fault_runs.h"

namespace slice {
namespace {

using namespace tests;
using Ids = std::vector<int64_t>;

constexpr FaultKind kKinds[] = {FaultKind::kThread, FaultKind::kAllocate, FaultKind::kTensor};

/// The ids of a request, or the reason why there are none.
std::string ended(Engine& engine, const Request& request, const Ids& want) {
  RequestHandle handle = engine.submit(request);
  Ids ids;
  Finish finish = Finish::kNone;
  while (const auto piece = handle.next()) {
    ids.insert(ids.end(), piece->ids.begin(), piece->ids.end());
    finish = piece->finish;
    if (finish == Finish::kError) return piece->error;
  }
  CHECK(finish == Finish::kLength);
  CHECK(ids == want);
  return {};
}

TEST_CASE("an engine survives every fault while it begins, serves and ends") {
  alarm(300);  // one that is stuck ends the tests
  const auto model = shared_model();
  Request request = some_request(*model, 3);
  request.options.max_tokens = 6;
  const Ids want = generated(*model, request);
  for (const FaultKind kind : kKinds) {
    const FaultRuns runs = run_with_faults(
        kind, [] {},
        [&] {
          Engine engine(one_model(model, 2));
          const std::string first = ended(engine, request, want);
          const std::string second = ended(engine, request, want);
          CHECK((first.empty() || second.empty()));  // of one fault
          if (!first.empty()) throw Error(first);
          if (!second.empty()) throw Error(second);
        },
        [](const std::string&) {});
    report_runs("engine", kind, runs);
  }
  alarm(0);
}

}  // namespace
}  // namespace slice
