#include "layouts.h"

#include <algorithm>
#include <cstdio>

#include "cli.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/slice.h"

namespace cli {
namespace {

constexpr double kFraction = 0.25;
constexpr int64_t kWeightBytes = 2;

slice::ParameterCount count_of(const slice::ModelConfig& config) {
  return slice::count_parameters(slice::written_config(config));
}

/// The first plan for a budget of the blocks whose layers have one width, or widths of their own.
slice::ModelConfig planned(const slice::ModelConfig& dense, bool even) {
  const slice::SliceOptions options{.remove_blocks = kFraction, .layout = slice::Layout::kFree};
  const std::vector<slice::Candidate> all = slice::candidates(dense, options);
  const auto found = std::ranges::find(all, even, &slice::Candidate::even);
  if (found == all.end()) throw slice::ArgumentError("budget: no such layout");
  return slice::planned_config(dense, slice::candidate_options(options, *found));
}

}  // namespace

std::vector<SlicedLayout> sliced_layouts(const slice::ModelConfig& dense) {
  std::vector<SlicedLayout> layouts;
  const auto add = [&](const char* name, const char* flags, const auto& plan) {
    try {
      layouts.push_back({name, flags, plan()});
    } catch (const slice::ArgumentError&) {  // norms on outputs, a tie that is none, …
    }
  };
  const auto sliced = [&](slice::SliceOptions options) {
    options.slice = kFraction;
    return [&dense, options] { return slice::planned_config(dense, options); };
  };
  add("fewer channels, one width", "--remove-blocks 0.25", [&] { return planned(dense, true); });
  add("fewer channels, layer by layer", "--remove-blocks 0.25 --layout free",
      [&] { return planned(dense, false); });
  add("smaller hidden size, head too", "--slice 0.25 --head slice",
      sliced({.head = slice::HeadMode::kSlice}));
  add("smaller hidden size", "--slice 0.25", sliced({}));
  if (dense.tied_head)
    add("smaller hidden size, tied head", "--slice 0.25 --keep-tie", sliced({.keep_tie = true}));
  if (!dense.norms_outputs())
    add("SliceGPT", "--method slicegpt --slice 0.25", sliced({.method = slice::Method::kSliceGpt}));
  return layouts;
}

nlohmann::ordered_json layouts_json(const slice::ModelConfig& dense) {
  auto list = nlohmann::ordered_json::array();
  for (const SlicedLayout& layout : sliced_layouts(dense)) {
    const slice::ParameterCount count = count_of(layout.config);
    const slice::OutputForm form = slice::output_form(layout.config);
    list.push_back({{"layout", layout.name},
                    {"flags", layout.flags},
                    {"k", layout.config.stream_size(0)},
                    {"ffn", layout.config.ffn_widths()},
                    {"parameters", count.total},
                    {"block_parameters", count.blocks},
                    {"stored_bytes", count.total * kWeightBytes},
                    {"token_bytes", count.read * kWeightBytes},
                    {"token_flop", 2 * count.multiplied},
                    {"stock", form.stock},
                    {"vllm", form.vllm},
                    {"gguf", form.gguf}});
  }
  return list;
}

void print_layouts(const slice::ModelConfig& dense) {
  std::printf("\nlayouts, in weights of 16 bits\n%-31s  %-35s %5s %5s  %15s  %9s  %9s  %9s  %s\n",
              "", "slice_model with", "k", "FFN", "parameters", "MB stored", "MB/token",
              "GFLOP/tok.", "runs in");
  const auto row = [](const SlicedLayout& layout) {
    const slice::ParameterCount count = count_of(layout.config);
    const std::vector<int64_t> widths = layout.config.ffn_widths();
    const int64_t widest = *std::ranges::max_element(widths);
    std::printf("%-31s  %-35s %5ld %5ld  %15s  %9.1f  %9.1f  %9.3g  %s\n", layout.name.c_str(),
                layout.flags.c_str(), layout.config.stream_size(0), widest,
                grouped(count.total).c_str(),
                1e-6 * static_cast<double>(count.total * kWeightBytes),
                1e-6 * static_cast<double>(count.read * kWeightBytes),
                2e-9 * static_cast<double>(count.multiplied),
                slice::describe(slice::output_form(layout.config)).c_str());
  };
  row({"as it is", "", dense});
  for (const SlicedLayout& layout : sliced_layouts(dense)) row(layout);
}

}  // namespace cli
