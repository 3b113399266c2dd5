#include "slice_options.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "cli.h"

namespace cli {
namespace {

/// "24GiB", "22000mib", "24GB", or a number of bytes; at least a MiB, since a small number without a
/// unit is meant otherwise.
int64_t bytes_of(const std::string& text) {
  constexpr std::pair<const char*, double> kUnits[] = {
      {"kib", 0x1p10}, {"mib", 0x1p20}, {"gib", 0x1p30}, {"tib", 0x1p40}, {"kb", 1e3},
      {"mb", 1e6},     {"gb", 1e9},     {"tb", 1e12},    {"", 1}};
  constexpr double kLeast = 0x1p20, kMost = 0x1p50;
  size_t digits = 0;
  double number = -1;
  try {
    number = std::stod(text, &digits);
  } catch (const std::exception&) {  // reported below
  }
  std::string unit = number > 0 ? text.substr(digits) : "?";
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const auto& [name, bytes] : kUnits) {
    const double asked = number * bytes;
    if (unit == name && asked >= kLeast && asked < kMost) return static_cast<int64_t>(asked);
  }
  throw CLI::ValidationError("--fit", "want a size, e.g. 24GiB or 22000MiB, got " + text);
}

/// "auto", "none", "diagonal", "lowrank:R" or "dense".
void set_shortcut(slice::SliceOptions& options, const std::string& text) {
  if (text == "auto") return;
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  for (const auto form : {slice::ShortcutForm::kDense, slice::ShortcutForm::kDiagonal,
                          slice::ShortcutForm::kLowRank, slice::ShortcutForm::kNone}) {
    if (slice::shortcut_name(form) == name) options.shortcut = form;
  }
  const bool ranked = options.shortcut == slice::ShortcutForm::kLowRank;
  const std::string rank = colon == text.npos ? "" : text.substr(colon + 1);
  const bool number = !rank.empty() && rank.size() < 7 &&
                      rank.find_first_not_of("0123456789") == rank.npos && rank != "0";
  if (!options.shortcut || ranked != (colon != text.npos) || (ranked && !number))
    throw CLI::ValidationError("--shortcut",
                               "want auto, none, diagonal, lowrank:R or dense, got " + text);
  if (ranked) options.shortcut_rank = std::stoll(rank);
}

/// What only the default method does.
void check_method(const SliceArguments& a) {
  const slice::SliceOptions& o = a.options;
  if (o.method == slice::Method::kRefit) return;
  const auto refuse = [](bool given, const char* flag, const char* why) {
    if (given) throw CLI::ValidationError(flag, std::string("--method slicegpt ") + why);
  };
  refuse(o.keep_tie, "--keep-tie", "unties the head");
  refuse(!a.ffn.empty(), "--ffn", "leaves the feed-forward networks as they are");
  refuse(o.budgeted(),
         o.remove      ? "--remove"
         : o.fit_bytes ? "--fit"
                       : "--remove-blocks",
         "has no search: want --slice");
  refuse(o.gradient_samples.has_value(), "--samples-gradient", "takes no gradients");
  refuse(o.recover > 0, "--recover", "does not train");
  refuse(o.shortcut && *o.shortcut != slice::ShortcutForm::kDense, "--shortcut",
         "has dense shortcuts only");
}

/// What is asked for where no budget is given. FFN widths alone leave the hidden size as it is.
void set_size(SliceArguments& a) {
  constexpr double kRemoved = 0.25;  // of the block weights
  if (a.slice) {
    a.options.slice = *a.slice;
  } else if (!a.ffn.empty()) {
    a.options.slice = 0;
  } else if (!a.options.budgeted() && a.options.method == slice::Method::kRefit) {
    a.options.remove_blocks = kRemoved;
  }
}

}  // namespace

void add_slice_options(CLI::App& app, SliceArguments& a) {
  auto* slice = app.add_option("--slice", a.slice,
                               "fraction of the hidden size to delete, in [0, 1); slicegpt without "
                               "it: 0.25");
  app.add_option("--remove", a.options.remove, "fraction of all parameters as stored to remove");
  app.add_option("--remove-blocks", a.options.remove_blocks,
                 "fraction of the block weights, shortcuts included, to remove; 0.25 where no size "
                 "is given");
  app.add_option_function<std::string>(
      "--fit", [&a](const std::string& text) { a.options.fit_bytes = bytes_of(text); },
      "memory of the target device, e.g. 24GiB");
  for (const char* budget : {"--remove", "--remove-blocks", "--fit"}) {
    app.get_option(budget)->excludes(slice);
    for (const char* other : {"--remove", "--remove-blocks", "--fit"})
      if (other != budget) app.get_option(budget)->excludes(app.get_option(other));
  }
  auto* fit = app.get_option("--fit");
  app.add_option("--fit-context", a.options.fit_context,
                 "tokens of a sequence on the target device")
      ->check(at_least(1))
      ->needs(fit)
      ->capture_default_str();
  app.add_option("--fit-batch", a.options.fit_batch, "sequences on the target device")
      ->check(at_least(1))
      ->needs(fit)
      ->capture_default_str();
  add_choice(app, "--method", a.options.method,
             {{"refit", slice::Method::kRefit}, {"slicegpt", slice::Method::kSliceGpt}},
             "refit: output-aware, writers fitted to the dense model; slicegpt: the paper's");
  app.add_option("--shortcut", a.shortcut, "auto, none, diagonal, lowrank:R or dense")
      ->capture_default_str();
  auto* ffn = app.add_option("--ffn", a.ffn,
                             "FFN channels that every layer keeps, or N,N,… one number a layer")
                  ->check(at_least(1))
                  ->delimiter(',');
  for (const char* budget : {"--remove", "--remove-blocks", "--fit"})
    app.get_option(budget)->excludes(ffn);  // it finds the widths itself
  app.add_option("--samples-gradient", a.options.gradient_samples,
                 "refit: windows that gradients are taken on; half of them when absent")
      ->check(at_least(1));
  app.add_option("--seed", a.options.seed, "refit: of the targets that gradients are taken for")
      ->capture_default_str();
  app.add_option("--recover", a.options.recover,
                 "refit: TRAINING, off by default: after the closed form of a sublayer, so many "
                 "epochs over the calibration windows on its own weights")
      ->check(at_least(0))
      ->capture_default_str();
  add_choice(app, "--tf32", a.options.tf32, {{"on", true}, {"off", false}},
             "refit: a float32 model's passes on a GPU in TF32 (10 bits of each factor's "
             "fraction); off: exact float32 products")
      ->default_str("on");
  add_choice(app, "--head", a.options.head,
             {{"keep", slice::HeadMode::kKeep}, {"slice", slice::HeadMode::kSlice}},
             "keep the head whole, or slice it too, which stock checkpoints need");
  add_choice(app, "--layout", a.layout, {{"stock", "stock"}, {"free", "free"}},
             "of the plans for a budget: those that load wherever the model does, unmodified "
             "Transformers, vLLM and llama.cpp, or all")
      ->default_str("stock");
  app.add_flag(
      "--keep-tie", a.options.keep_tie,
      "refit: a tied head stays the embedding and reads through a k x k map, instead of being "
      "untied");
  app.add_option(
      "--round", a.options.round,
      "kept sizes, and FFN widths chosen for a budget, are multiples of this; by default "
      "of 8 for --slice, and for a budget of 32, widths from 4096 channels on of 256");
}

void check_slice_options(SliceArguments& a) {
  for (const auto& [flag, fraction] :
       {std::pair{"--remove", a.options.remove}, {"--remove-blocks", a.options.remove_blocks}}) {
    if (fraction && !(*fraction > 0 && *fraction < 1))
      throw CLI::ValidationError(flag,
                                 "want a fraction in (0, 1), got " + std::to_string(*fraction));
  }
  if (a.slice && !(*a.slice >= 0 && *a.slice < 1))
    throw CLI::ValidationError("--slice", "want a fraction in [0, 1)");
  if (a.options.round && *a.options.round < 1)
    throw CLI::ValidationError("--round", "want at least 1");
  set_shortcut(a.options, a.shortcut);
  check_method(a);
  set_size(a);
  if (a.layout.empty()) return;
  if (!a.options.budgeted())
    throw CLI::ValidationError("--layout", "chooses among the plans for a budget");
  a.options.layout = a.layout == "free" ? slice::Layout::kFree : slice::Layout::kStock;
}

slice::SliceOptions slice_options(const SliceArguments& a, const slice::ModelConfig& dense) {
  slice::SliceOptions options = a.options;
  options.ffn_sizes = a.ffn;
  if (a.ffn.size() == 1) options.ffn_sizes.assign(dense.layers, a.ffn[0]);
  return options;
}

}  // namespace cli
