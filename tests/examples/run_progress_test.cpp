#include "examples/run_progress.h"

#include <catch2/catch_all.hpp>

namespace slice {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using cli::RunProgress;

Progress at(const std::string& phase, int64_t step, int64_t steps, double seconds, double eta) {
  return {.phase = phase, .step = step, .steps = steps, .seconds = seconds, .eta = eta};
}

std::vector<cli::Phase> phases() {
  return {{.name = "score", .flop = 10},
          {.name = "gradients", .flop = 40},
          {.name = "slice", .flop = 40, .parts = 3, .part = "layer"},
          {.name = "score", .flop = 10}};
}

TEST_CASE("one bar goes through all phases by what they take, and never back") {
  RunProgress run(phases());
  run.see(at("score", 1, 2, 5, 5), 5);
  CHECK(run.done() == Approx(0.05));
  CHECK(run.seconds_left() == Approx(5 + 90.0));  // a FLOP a second
  CHECK(run.place() == "measuring 1/2");
  run.see(at("score", 2, 2, 10, 0), 10);
  CHECK(run.done() == Approx(0.1));
  CHECK_FALSE(run.finished());  // the other one comes at the end
  run.see(at("gradients", 0, 8, 10, 10), 20);
  CHECK(run.done() == Approx(0.3));
  CHECK(run.seconds_left() == Approx(10 + 50 * 20 / 30.0));
  run.see(at("slice", 2, 6, 10, 20), 40);
  CHECK(run.place() == "slicing, layer 2/3");
  CHECK(run.done() == Approx(0.5 + 0.4 / 3));
  run.see(at("slice", 2, 6, 10, 90), 40);  // it expects more than before
  CHECK(run.done() == Approx(0.5 + 0.4 / 3));
  run.see(at("slice", 6, 6, 100, 0), 130);
  CHECK(run.place() == "slicing, layer 3/3");
  CHECK_FALSE(run.finished());
  run.see(at("score", 1, 2, 1, 1), 131);
  CHECK(run.done() == Approx(0.95));
  run.see(at("score", 2, 2, 2, 0), 132);
  CHECK(run.done() == Approx(1));
  CHECK(run.finished());
  CHECK(run.seconds_left() == 0);
}

TEST_CASE("phases may be left out, come unannounced, or not be known at all") {
  RunProgress resumed(phases());
  resumed.see(at("slice", 3, 6, 10, 10), 10);  // nothing was measured
  CHECK(resumed.done() == Approx(0.7));
  resumed.see(at("channels", 1, 2, 1, 1), 11);
  CHECK(resumed.done() == Approx(0.7));
  CHECK(resumed.place() == "ranking channels 1/2");
  RunProgress unknown({});
  unknown.see(at("questions", 1, 4, 1, 3), 1);
  CHECK(unknown.done() == Approx(0.25));
  CHECK(unknown.place() == "questions 1/4");
  unknown.see(at("questions", 4, 4, 4, 0), 4);
  CHECK(unknown.finished());
  unknown.see(at("save", 0, 2, 0, 0), 4);
  CHECK_FALSE(unknown.finished());
}

TEST_CASE("a line holds what its width has room for") {
  RunProgress run(phases());
  Progress p = at("slice", 2, 6, 10, 20);
  p.kept_variance = 0.97531;
  p.tokens_per_second = 18200.4;
  run.see(p, 10);
  CHECK(run.line(120, true) ==
        "[############........]  63 %  slicing, layer 2/3  22 s left  18,200 tokens/s  kept "
        "variance 0.9753");
  CHECK(run.line(79, true) ==
        "[############........]  63 %  slicing, layer 2/3  22 s left  18,200 tokens/s");
  CHECK(run.line(40, true) == " 63 %  slicing, layer 2/3  22 s left");
  CHECK(run.line(10, true) == " 63 %  sli");
  CHECK(run.line(0, true).empty());
  CHECK_THAT(run.line(120, false), !ContainsSubstring("["));
}

}  // namespace
}  // namespace slice
