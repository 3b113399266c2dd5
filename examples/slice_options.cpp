#include "slice_options.h"

namespace cli {
namespace {

/// "24GiB", "22000MiB" or a number of bytes.
int64_t bytes_of(const std::string& text) {
  size_t digits = 0;
  double number = -1;
  try {
    number = std::stod(text, &digits);
  } catch (const std::exception&) {  // reported below
  }
  const std::string unit = number > 0 ? text.substr(digits) : "?";
  for (const auto& [name, bytes] : {std::pair{"GiB", 0x1p30}, {"MiB", 0x1p20}, {"", 1.0}}) {
    if (unit == name && number * bytes < 0x1p50) return static_cast<int64_t>(number * bytes);
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

}  // namespace

void add_slice_options(CLI::App& app, SliceArguments& a) {
  auto* slice =
      app.add_option("--slice", a.options.slice, "fraction of the hidden size to delete, in [0, 1)")
          ->capture_default_str();
  app.add_option("--remove", a.options.remove, "fraction of all parameters as stored to remove");
  app.add_option("--remove-blocks", a.options.remove_blocks,
                 "fraction of the block weights, shortcuts included, to remove");
  app.add_option_function<std::string>(
      "--fit", [&a](const std::string& text) { a.options.fit_bytes = bytes_of(text); },
      "memory of the target device, e.g. 24GiB");
  for (const char* budget : {"--remove", "--remove-blocks", "--fit"}) {
    app.get_option(budget)->excludes(slice);
    for (const char* other : {"--remove", "--remove-blocks", "--fit"})
      if (other != budget) app.get_option(budget)->excludes(app.get_option(other));
  }
  app.add_option("--fit-context", a.options.fit_context,
                 "tokens of a sequence on the target device")
      ->capture_default_str();
  app.add_option("--fit-batch", a.options.fit_batch, "sequences on the target device")
      ->capture_default_str();
  app.add_option("--method", a.options.method,
                 "refit: output-aware, writers fitted to the dense model; slicegpt: the paper's")
      ->transform(CLI::CheckedTransformer(std::map<std::string, slice::Method>{
          {"refit", slice::Method::kRefit}, {"slicegpt", slice::Method::kSliceGpt}}));
  app.add_option("--shortcut", a.shortcut, "auto, none, diagonal, lowrank:R or dense")
      ->capture_default_str();
  app.add_option("--ffn", a.ffn, "FFN channels that every layer keeps, or N,N,… one number a layer")
      ->delimiter(',');
  app.add_option("--samples-gradient", a.options.gradient_samples,
                 "refit: windows that gradients are taken on; half of them when absent");
  app.add_option("--seed", a.options.seed, "refit: of the targets that gradients are taken for")
      ->capture_default_str();
  app.add_option("--tf32", a.options.tf32,
                 "refit: a float32 model's passes on a GPU in TF32 (10 bits of each factor's "
                 "fraction); off: "
                 "exact float32 products")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, bool>{{"on", true}, {"off", false}}))
      ->default_str("on");
  app.add_option("--head", a.options.head, "keep the head whole, or slice it too")
      ->transform(CLI::CheckedTransformer(std::map<std::string, slice::HeadMode>{
          {"keep", slice::HeadMode::kKeep}, {"slice", slice::HeadMode::kSlice}}));
  app.add_flag(
      "--keep-tie", a.options.keep_tie,
      "refit: a tied head stays the embedding and reads through a k x k map, instead of being "
      "untied");
  app.add_option("--round", a.options.round, "kept sizes are multiples of this")
      ->capture_default_str();
}

void check_slice_options(SliceArguments& a) {
  if (!(a.options.slice >= 0 && a.options.slice < 1))
    throw CLI::ValidationError("--slice", "want a fraction in [0, 1)");
  if (a.options.round < 1) throw CLI::ValidationError("--round", "want at least 1");
  set_shortcut(a.options, a.shortcut);
}

slice::SliceOptions slice_options(const SliceArguments& a, const slice::ModelConfig& dense) {
  slice::SliceOptions options = a.options;
  options.ffn_sizes = a.ffn;
  if (a.ffn.size() == 1) options.ffn_sizes.assign(dense.layers, a.ffn[0]);
  return options;
}

}  // namespace cli
