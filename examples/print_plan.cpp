#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli.h"
#include "libslice/checkpoint/stock.h"
#include "run_cost.h"
#include "slice_plan.h"

namespace cli {
namespace {

using nlohmann::ordered_json;

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

std::string bytes_text(int64_t bytes) {
  char text[32];
  const bool small = bytes < (int64_t{1} << 30);
  std::snprintf(text, sizeof text, small ? "%.1f MiB" : "%.2f GiB",
                static_cast<double>(bytes) / (small ? 0x1p20 : 0x1p30));
  return text;
}

/// Bytes stored, bytes that a token reads, FLOP that it takes.
ordered_json sizes_json(const slice::ParameterCount& count, int64_t weight_bytes) {
  return {{"stored_bytes", count.total * weight_bytes},
          {"token_bytes", count.read * weight_bytes},
          {"token_flop", 2 * count.multiplied}};
}

ordered_json form_json(const slice::ModelConfig& config) {
  const slice::OutputForm form = slice::output_form(config);
  return {{"stock", form.stock},
          {"vllm", form.vllm},
          {"gguf", form.gguf.empty() ? ordered_json() : ordered_json(form.gguf)}};
}

Expected expected_run(const Arguments& a, const Plan& plan, const Calibration& calibration) {
  Expected expected{.cost = expected_cost(a, plan, plan.sliced.front(), calibration.windows,
                                          calibration.context)};
  expected.cost.flop = expected_flop(a, plan, calibration.windows, calibration.context).total();
  if (a.layerwise) {
    const slice::LayerwiseOptions where = layerwise_options(a);
    expected.layerwise = slice::expected_layerwise_cost(
        *plan.checkpoint, plan.sliced.front(), plan.options.method, calibration.tokens(),
        calibration.context, where, slice::free_memory(where.device), plan.options.recover);
    expected.cost.host_bytes = expected.layerwise->host_bytes;
    expected.cost.disk_bytes = expected.layerwise->disk_bytes;
    expected.cost.training_bytes = expected.layerwise->training_bytes;
  }
  expected.seconds = expected.cost.flop / measured_flop_per_second();
  return expected;
}

ordered_json expected_json(const Expected& expected) {
  ordered_json json = {{"host_bytes", expected.cost.host_bytes},
                       {"disk_bytes", expected.cost.disk_bytes},
                       {"training_bytes", expected.cost.training_bytes},
                       {"flop", expected.cost.flop},
                       {"seconds", expected.seconds}};
  if (const auto& layerwise = expected.layerwise) {
    json["device_bytes"] = layerwise->device_bytes;
    json["scratch_bytes"] = layerwise->scratch_bytes;
    json["signal"] = slice::signal_place_name(layerwise->signal);
    json["signal_bytes"] = layerwise->signal_bytes;
    json["layer_bytes"] = layerwise->layer_bytes;
    json["gradient_bytes"] = layerwise->gradient_bytes;
    json["journal_bytes"] = layerwise->journal_bytes;
  }
  return json;
}

ordered_json plan_json(const Arguments& a, const Plan& plan) {
  const int64_t weight_bytes = written_bytes(a, plan);
  const slice::ParameterCount before = slice::count_parameters(plan.dense());
  ordered_json json = {
      {"inference",
       {{"weight_bytes", weight_bytes}, {"before", sizes_json(before, weight_bytes)}}}};
  if (!plan.candidates.empty()) {
    for (size_t i = 0; i < plan.candidates.size(); ++i) {
      const slice::Candidate& c = plan.candidates[i];
      json["candidates"].push_back({{"k", c.kept},
                                    {"tied", c.tied},
                                    {"stock", c.stock},
                                    {"ffn_channels", c.channels()},
                                    {"parameters", c.after.total},
                                    {"blocks", c.after.blocks},
                                    {"inference", sizes_json(c.after, weight_bytes)},
                                    {"form", form_json(plan.sliced[i])}});
    }
    return json;
  }
  const slice::ModelConfig& sliced = plan.sliced.front();
  std::vector<int64_t> sizes(sliced.sites());
  for (int64_t site = 0; site < sliced.sites(); ++site) sizes[site] = sliced.stream_size(site);
  const slice::ParameterCount after = slice::count_parameters(slice::written_config(sliced));
  json["inference"]["after"] = sizes_json(after, weight_bytes);
  json["plan"] = {{"k", sizes}, {"ffn", sliced.ffn_widths()}};
  json["parameters"] = {{"before", before.total},
                        {"after", after.total},
                        {"blocks_before", before.blocks},
                        {"blocks_after", after.blocks}};
  json["form"] = form_json(sliced);
  return json;
}

/// A row of the table of candidates: what the model takes, whose blocks and head it is.
void print_row(const std::string& kept, const std::string& channels,
               const slice::ParameterCount& count, int64_t weight_bytes, bool tied,
               const slice::ModelConfig& config) {
  std::printf("%5s   %16s   %12s   %12s   %10s   %10s   %7.3g   %s   %s\n", kept.c_str(),
              channels.c_str(), grouped(count.total).c_str(), grouped(count.blocks).c_str(),
              bytes_text(count.total * weight_bytes).c_str(),
              bytes_text(count.read * weight_bytes).c_str(),
              2e-9 * static_cast<double>(count.multiplied), tied ? "tied" : "own ",
              slice::describe(slice::output_form(config)).c_str());
}

void print_candidates(const Arguments& a, const Plan& plan) {
  const int64_t weight_bytes = written_bytes(a, plan);
  const slice::ModelConfig& dense = plan.dense();
  const auto mean = [&](int64_t channels) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f",
                  static_cast<double>(channels) / static_cast<double>(dense.layers));
    return std::string(text);
  };
  std::printf(
      "    k   channels a layer     parameters         blocks       stored   read/token   GFLOP/t  "
      " head   runs in\n");
  const std::vector<int64_t> widths = dense.ffn_widths();
  print_row("dense", mean(std::accumulate(widths.begin(), widths.end(), int64_t{0})),
            slice::count_parameters(dense), weight_bytes, dense.tied_head, dense);
  for (size_t i = 0; i < plan.candidates.size(); ++i) {
    const slice::Candidate& c = plan.candidates[i];
    print_row(std::to_string(c.kept), mean(c.channels()), c.after, weight_bytes, c.tied,
              plan.sliced[i]);
  }
}

/// What a search chooses from.
void print_layout(const Plan& plan) {
  const auto stock = std::ranges::count_if(plan.candidates, &slice::Candidate::stock);
  if (plan.options.layout == slice::Layout::kStock) {
    std::printf(
        "layout      stock: the best of %ld of these; --layout free takes the best of all\n",
        stock);
  } else {
    std::printf("layout      free: the best of these, %ld of which are stock\n", stock);
  }
}

void print_one(const Arguments& a, const Plan& plan) {
  const slice::ModelConfig &dense = plan.dense(), &sliced = plan.sliced.front();
  const slice::ParameterCount before = slice::count_parameters(dense),
                              after = slice::count_parameters(slice::written_config(sliced));
  std::printf("plan        hidden size %ld -> %ld at %ld sites (head %ld)\n", dense.hidden_size,
              sliced.stream_size(0), sliced.sites(), sliced.stream_size(sliced.sites() - 1));
  std::printf("parameters  %s -> %s as stored, %s -> %s in blocks (%s of them shortcuts)\n",
              grouped(before.total).c_str(), grouped(after.total).c_str(),
              grouped(before.blocks).c_str(), grouped(after.blocks).c_str(),
              grouped(after.shortcuts).c_str());
  print_sizes(before, after, written_bytes(a, plan));
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
  std::printf(
      "meanwhile   at most %.1f GiB more on disk for --resume: twice a signal of %.2f GiB, saved "
      "%s,\n",
      cost.journal_bytes / 0x1p30, cost.signal_bytes / 0x1p30,
      save_every > 0 ? ("every " + std::to_string(save_every) + " layers").c_str()
                     : "where it costs at most 5 % of the time");
  if (cost.gradient_bytes > 0) {
    std::printf("            and %.2f GiB of gradient covariances\n", cost.gradient_bytes / 0x1p30);
  } else {
    std::printf("            and %.3f GiB for every layer since\n", cost.layer_bytes / 0x1p30);
  }
}

/// What --recover adds; it is part of what is expected.
void print_training(int64_t epochs, const slice::ExpectedCost& cost) {
  std::printf(
      "training    %ld epochs on every sublayer (--recover): forwards and backwards %ld times "
      "more, "
      "and %s\n            of this memory: Adam's state of one sublayer, activations of a step\n",
      epochs, epochs, bytes_text(cost.training_bytes).c_str());
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

void print_sizes(const slice::ParameterCount& before, const slice::ParameterCount& after,
                 int64_t weight_bytes) {
  std::printf("stored      %s -> %s\n", bytes_text(before.total * weight_bytes).c_str(),
              bytes_text(after.total * weight_bytes).c_str());
  std::printf(
      "a token     reads %s -> %s, takes %.3g -> %.3g GFLOP and attention\n",
      bytes_text(before.read * weight_bytes).c_str(), bytes_text(after.read * weight_bytes).c_str(),
      2e-9 * static_cast<double>(before.multiplied), 2e-9 * static_cast<double>(after.multiplied));
}

void print_price(const slice::SliceReport& report) {
  const auto stock = slice::least_loss(report.candidates, /*only_stock=*/true),
             free = slice::least_loss(report.candidates, /*only_stock=*/false);
  if (stock)
    std::printf(
        "held out    loss %.4f of stock plans, %.4f of all (--layout free): %+.2f %% "
        "perplexity\n",
        *stock, *free, 100 * std::expm1(*free - *stock));
}

void print_plan(const Arguments& a, const Plan& plan) {
  if (!a.quiet) print_notes(a, plan);
  const Calibration calibration = calibration_of(a, plan);
  const Expected expected = expected_run(a, plan, calibration);
  if (a.json) {
    ordered_json json = plan_json(a, plan);
    json["calibration"] = {{"windows", calibration.windows}, {"context", calibration.context}};
    json["expected"] = expected_json(expected);
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  if (plan.candidates.empty()) {
    print_one(a, plan);
  } else {
    print_candidates(a, plan);
    print_layout(plan);
  }
  std::printf("calibration %ld windows of %ld tokens%s\n", calibration.windows, calibration.context,
              calibration.read ? "" : " (--calibration was not given: as asked for)");
  std::printf(
      "expected    %.1f GiB of memory, %.1f GiB on disk, about %s on this machine's CPU (%.1f "
      "TFLOP)\n",
      expected.cost.host_bytes / 0x1p30, expected.cost.disk_bytes / 0x1p30,
      duration(expected.seconds).c_str(), expected.cost.flop / 1e12);
  if (plan.options.recover > 0) print_training(plan.options.recover, expected.cost);
  if (expected.layerwise) print_layerwise(*expected.layerwise, a.save_every);
}

}  // namespace cli
