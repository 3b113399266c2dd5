#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "libslice/checkpoint/stock.h"
#include "slice_plan.h"

namespace cli {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kTrialWindows = 32;  // of a candidate in a search

/// What a plan is counted for.
struct Calibration {
  int64_t windows = 0, context = 0;
  bool read = false;  // from the text, else what was asked for
  int64_t tokens() const { return windows * context; }
};

struct Expected {
  slice::ExpectedCost cost;
  std::optional<slice::LayerwiseCost> layerwise = std::nullopt;
  double seconds = 0;
};

ordered_json form_json(const slice::ModelConfig& config) {
  const slice::OutputForm form = slice::output_form(config);
  return {{"stock", form.stock},
          {"gguf", form.gguf.empty() ? ordered_json() : ordered_json(form.gguf)}};
}

Expected expected_cost(const Arguments& a, const Plan& plan, const Calibration& calibration) {
  const auto cost = [&](const slice::ModelConfig& sliced, int64_t tokens) {
    return slice::expected_cost(plan.dense(), sliced, plan.options.method, tokens,
                                slice::kHostChunkTokens, written_bytes(a, plan));
  };
  Expected expected{.cost = cost(plan.sliced.front(), calibration.tokens())};
  if (plan.sliced.size() > 1) {
    for (const slice::ModelConfig& candidate : plan.sliced)
      expected.cost.flop +=
          cost(candidate, std::min(kTrialWindows, calibration.windows) * calibration.context).flop;
  }
  if (a.layerwise) {
    const slice::LayerwiseOptions where = layerwise_options(a);
    expected.layerwise = slice::expected_layerwise_cost(
        *plan.checkpoint, plan.sliced.front(), plan.options.method, calibration.tokens(),
        calibration.context, where, slice::free_memory(where.device));
    expected.cost.host_bytes = expected.layerwise->host_bytes;
    expected.cost.disk_bytes = expected.layerwise->disk_bytes;
  }
  expected.seconds = expected.cost.flop / measured_flop_per_second();
  return expected;
}

ordered_json expected_json(const Expected& expected) {
  ordered_json json = {{"host_bytes", expected.cost.host_bytes},
                       {"disk_bytes", expected.cost.disk_bytes},
                       {"flop", expected.cost.flop},
                       {"seconds", expected.seconds}};
  if (const auto& layerwise = expected.layerwise) {
    json["device_bytes"] = layerwise->device_bytes;
    json["scratch_bytes"] = layerwise->scratch_bytes;
    json["signal"] = slice::signal_place_name(layerwise->signal);
    json["signal_bytes"] = layerwise->signal_bytes;
    json["layer_bytes"] = layerwise->layer_bytes;
    json["journal_bytes"] = layerwise->journal_bytes;
  }
  return json;
}

ordered_json plan_json(const Plan& plan) {
  ordered_json json;
  if (!plan.candidates.empty()) {
    for (size_t i = 0; i < plan.candidates.size(); ++i) {
      const slice::Candidate& c = plan.candidates[i];
      json["candidates"].push_back({{"k", c.kept},
                                    {"tied", c.tied},
                                    {"ffn_channels", c.channels},
                                    {"parameters", c.after.total},
                                    {"blocks", c.after.blocks},
                                    {"form", form_json(plan.sliced[i])}});
    }
    return json;
  }
  const slice::ModelConfig& sliced = plan.sliced.front();
  std::vector<int64_t> sizes(sliced.sites());
  for (int64_t site = 0; site < sliced.sites(); ++site) sizes[site] = sliced.stream_size(site);
  const slice::ParameterCount before = slice::count_parameters(plan.dense()),
                              after = slice::count_parameters(slice::written_config(sliced));
  json["plan"] = {{"k", sizes}, {"ffn", sliced.ffn_widths()}};
  json["parameters"] = {{"before", before.total},
                        {"after", after.total},
                        {"blocks_before", before.blocks},
                        {"blocks_after", after.blocks}};
  json["form"] = form_json(sliced);
  return json;
}

void print_candidates(const Plan& plan) {
  std::printf("    k   channels a layer     parameters         blocks   head   runs in\n");
  for (size_t i = 0; i < plan.candidates.size(); ++i) {
    const slice::Candidate& c = plan.candidates[i];
    std::printf("%5ld   %16.1f   %12s   %12s   %s   %s\n", c.kept,
                static_cast<double>(c.channels) / static_cast<double>(plan.dense().layers),
                grouped(c.after.total).c_str(), grouped(c.after.blocks).c_str(),
                c.tied ? "tied" : "own ",
                slice::describe(slice::output_form(plan.sliced[i])).c_str());
  }
}

void print_one(const Plan& plan) {
  const slice::ModelConfig &dense = plan.dense(), &sliced = plan.sliced.front();
  const slice::ParameterCount before = slice::count_parameters(dense),
                              after = slice::count_parameters(slice::written_config(sliced));
  std::printf("plan        hidden size %ld -> %ld at %ld sites (head %ld)\n", dense.hidden_size,
              sliced.stream_size(0), sliced.sites(), sliced.stream_size(sliced.sites() - 1));
  std::printf("parameters  %s -> %s as stored, %s -> %s in blocks (%s of them shortcuts)\n",
              grouped(before.total).c_str(), grouped(after.total).c_str(),
              grouped(before.blocks).c_str(), grouped(after.blocks).c_str(),
              grouped(after.shortcuts).c_str());
  std::printf("runs in     %s\n", slice::describe(slice::output_form(sliced)).c_str());
}

void print_layerwise(const slice::LayerwiseCost& cost, int64_t save_every) {
  if (cost.device_bytes > 0)
    std::printf("            %.1f GiB of the device, and half of the rest for longer chunks\n",
                cost.device_bytes / 0x1p30);
  if (cost.scratch_bytes > 0) {
    std::printf("            %.1f GiB more on disk while it runs: the signal fits into no memory\n",
                cost.scratch_bytes / 0x1p30);
  } else if (cost.signal == slice::SignalPlace::kHost) {
    std::printf("            with the signal in host memory: the device has no room for it\n");
  }
  if (cost.journal_bytes == 0) return;
  std::printf(
      "meanwhile   at most %.1f GiB more on disk for --resume: twice a signal of %.2f GiB, saved "
      "%s,\n"
      "            and %.3f GiB for every layer since\n",
      cost.journal_bytes / 0x1p30, cost.signal_bytes / 0x1p30,
      save_every > 0 ? ("every " + std::to_string(save_every) + " layers").c_str()
                     : "where it costs at most 5 % of the time",
      cost.layer_bytes / 0x1p30);
}

Calibration calibration_of(const Arguments& a, const Plan& plan) {
  if (a.calibration.empty()) {
    constexpr int64_t kMost = 1'000'000'000;  // a number for "all of it"
    return {std::min(a.windows.samples.value_or(kMost), kMost), a.windows.context, false};
  }
  const at::Tensor tokens = calibration_windows(a, plan).tokens();  // (N, T)
  return {tokens.size(0), tokens.size(1), true};
}

}  // namespace

void print_plan(const Arguments& a, const Plan& plan) {
  if (!a.quiet) print_notes(a, plan);
  const Calibration calibration = calibration_of(a, plan);
  const Expected expected = expected_cost(a, plan, calibration);
  if (a.json) {
    ordered_json json = plan_json(plan);
    json["calibration"] = {{"windows", calibration.windows}, {"context", calibration.context}};
    json["expected"] = expected_json(expected);
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  plan.candidates.empty() ? print_one(plan) : print_candidates(plan);
  std::printf("calibration %ld windows of %ld tokens%s\n", calibration.windows, calibration.context,
              calibration.read ? "" : " (--calibration was not given: as asked for)");
  std::printf(
      "expected    %.1f GiB of memory, %.1f GiB on disk, about %s on this machine's CPU (%.1f "
      "TFLOP)\n",
      expected.cost.host_bytes / 0x1p30, expected.cost.disk_bytes / 0x1p30,
      duration(expected.seconds).c_str(), expected.cost.flop / 1e12);
  if (expected.layerwise) print_layerwise(*expected.layerwise, a.save_every);
}

}  // namespace cli
