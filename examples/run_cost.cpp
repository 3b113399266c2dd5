#include "run_cost.h"

#include <algorithm>

namespace cli {
namespace {

constexpr int64_t kTrialWindows = 32;   // of a candidate in a search
constexpr double kWriting = 8;          // a token that is written, against one that is read
constexpr double kSavedByteFlop = 100;  // a byte takes to save what so many FLOP take

}  // namespace

slice::ExpectedCost expected_cost(const Arguments& a, const Plan& plan,
                                  const slice::ModelConfig& sliced, int64_t windows,
                                  int64_t context) {
  return slice::expected_cost(plan.dense(), sliced, plan.options.method, windows * context,
                              slice::kHostChunkTokens, written_bytes(a, plan),
                              {.epochs = plan.options.recover, .window_tokens = context});
}

RunFlop expected_flop(const Arguments& a, const Plan& plan, int64_t windows, int64_t context) {
  const slice::ExpectedCost cost = expected_cost(a, plan, plan.sliced.front(), windows, context);
  RunFlop flop{.gradients = cost.gradient_flop, .slice = cost.flop - cost.gradient_flop};
  if (!plan.options.budgeted()) return flop;
  const int64_t tokens = std::min(kTrialWindows, windows) * context;
  const auto trial = [&](const slice::ModelConfig& candidate) {  // which takes no gradients
    const slice::ExpectedCost tried =
        slice::expected_cost(plan.dense(), candidate, plan.options.method, tokens,
                             slice::kHostChunkTokens, written_bytes(a, plan));
    return tried.flop - tried.gradient_flop;
  };
  if (!plan.dense().routed()) flop.channels = trial(plan.sliced.front()) / 2;
  if (plan.sliced.size() > 1)
    for (const slice::ModelConfig& candidate : plan.sliced) flop.search += trial(candidate);
  return flop;
}

std::vector<Phase> run_phases(const Arguments& a, const Plan& plan,
                              const slice::CalibrationWindows& windows, int64_t tested) {
  const at::Tensor& tokens = windows.tokens();  // (N, T)
  const RunFlop flop = expected_flop(a, plan, tokens.size(0), tokens.size(1));
  const auto pass = [](const slice::ModelConfig& config, double count) {
    return 2 * count * static_cast<double>(slice::count_parameters(config).multiplied);
  };
  const slice::ModelConfig &dense = plan.dense(), &sliced = plan.sliced.front();
  std::vector<Phase> phases;
  if (const auto self = self_number(a)) {
    const auto written = static_cast<double>(windows.windows(*self) * tokens.size(1));
    phases.push_back({.name = "writing", .flop = kWriting * pass(dense, written)});
  }
  const auto measured = static_cast<double>(tested);
  if (tested > 0) phases.push_back({.name = "score", .flop = pass(dense, measured)});
  if (flop.gradients > 0) phases.push_back({.name = "gradients", .flop = flop.gradients});
  if (flop.channels > 0) phases.push_back({.name = "channels", .flop = flop.channels});
  if (flop.search > 0)
    phases.push_back(
        {.name = "search", .flop = flop.search, .parts = std::ssize(plan.sliced), .part = "plan"});
  phases.push_back({.name = "slice", .flop = flop.slice, .parts = dense.layers, .part = "layer"});
  if (tested > 0) phases.push_back({.name = "score", .flop = pass(sliced, measured)});
  const slice::ExpectedCost cost = expected_cost(a, plan, sliced, tokens.size(0), tokens.size(1));
  if (!a.layerwise)  // which writes while it slices
    phases.push_back(
        {.name = "save", .flop = kSavedByteFlop * static_cast<double>(cost.disk_bytes)});
  return phases;
}

}  // namespace cli
