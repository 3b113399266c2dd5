#include "slice_plan.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>

#include "cli.h"
#include "libslice/checkpoint/stock.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLeastWindows = 8;  // of a search, which holds some of them out

fs::path whole(const std::string& path) { return fs::weakly_canonical(fs::absolute(path)) / ""; }

/// Whether a file is to be put into the directory of the result, which is not there yet.
bool inside_result(const Arguments& a, const std::string& file) {
  return !a.out.empty() &&
         fs::weakly_canonical(fs::absolute(file).parent_path()) / "" == whole(a.out);
}

void check_out(const Arguments& a) {
  if (a.out.empty()) return;
  const fs::path out = whole(a.out).parent_path(), parent = out.parent_path();
  if (!fs::is_directory(parent))
    throw slice::Error("--out " + a.out + ": there is no directory " + parent.string());
  if (fs::exists(out) && !fs::is_directory(out))
    throw slice::Error("--out " + a.out + ": is no directory");
  if (fs::exists(out) && !a.force && !a.resume)
    throw slice::Error(a.out + ": exists already, and --force was not given");
  if (access(parent.c_str(), W_OK | X_OK) != 0)
    throw slice::Error("--out " + a.out + ": cannot write in " + parent.string() + ": " +
                       std::strerror(errno));
}

void check_report(const Arguments& a) {
  if (a.report.empty()) return;
  if (!a.out.empty() && whole(a.report) == whole(a.out))
    throw slice::Error(a.report + ": is the directory of --out");
  if (!inside_result(a, a.report)) slice::check_output(a.report);
}

void check_gguf(const Arguments& a, const Plan& plan) {
  if (a.gguf.empty()) return;
  if (!a.out.empty() && whole(a.gguf) == whole(a.out))
    throw slice::Error(a.gguf + ": is the directory of --out");
  if (!a.report.empty() && whole(a.gguf) == whole(a.report))
    throw CLI::ValidationError("--gguf, --report", "name the same file");
  if (!inside_result(a, a.gguf)) slice::check_gguf_path(a.gguf, a.force);
  auto obstacle = slice::gguf_obstacle(*plan.tokenizer, plan.dense().vocabulary_size);
  if (!obstacle && plan.candidates.empty()) obstacle = slice::gguf_obstacle(plan.sliced.front());
  if (obstacle) throw slice::FormatError(a.gguf + ": " + *obstacle);
}

/// Refuses too few windows for a search, and warns of few.
void check_windows(const Arguments& a, const Plan& plan, const slice::CalibrationWindows& windows) {
  const at::Tensor& tokens = windows.tokens();  // (N, T)
  if (plan.candidates.size() > 1 && tokens.size(0) < kLeastWindows)
    throw slice::ArgumentError("a search for a budget wants at least " +
                               std::to_string(kLeastWindows) + " calibration windows, got " +
                               std::to_string(tokens.size(0)) +
                               ": more --samples, more text, or a shorter --context");
  if (a.quiet) return;
  const int64_t hidden_size = plan.dense().hidden_size;
  if (tokens.numel() < hidden_size)
    warn(std::to_string(tokens.numel()) + " calibration tokens are fewer than the hidden size " +
         std::to_string(hidden_size) + ": the covariance is rank-deficient");
  if (plan.options.method != slice::Method::kRefit) return;
  for (int64_t text = 0; text < std::ssize(windows.texts()); ++text) {
    if (!windows.rows(slice::WindowUse::kHeldOut, text).empty()) continue;
    warn(windows.texts()[text].name + " gives " + std::to_string(windows.windows(text)) +
         " calibration windows: too few to hold any out, so nothing is chosen or measured on it");
  }
}

}  // namespace

Plan make_plan(const CLI::App& app, Arguments& a, bool writes) {
  Plan plan;
  plan.checkpoint = slice::open_checkpoint(a.model);
  const slice::ModelConfig& dense = plan.dense();
  if (dense.sliced())
    throw slice::ArgumentError(a.model + ": is sliced already; start from the dense model");
  fit_context(app, a.windows, dense);
  slice::choose_device(a.device);
  plan.options = slice_options(a.slice, dense);
  plan.options.fit_weight_bytes = a.dtype == "fp32" ? 4 : 2;
  plan.options.only_gguf = !a.gguf.empty();
  if (plan.options.budgeted()) {
    plan.candidates = a.layerwise ? slice::layerwise_candidates(dense, plan.options)
                                  : slice::candidates(dense, plan.options);
    for (const slice::Candidate& candidate : plan.candidates)
      plan.sliced.push_back(
          slice::planned_config(dense, slice::candidate_options(plan.options, candidate)));
  } else {
    plan.sliced.push_back(slice::planned_config(dense, plan.options));
  }
  if (!a.gguf.empty() || !a.calibration.empty()) plan.tokenizer = slice::load_tokenizer(a.model);
  if (!writes) return plan;
  check_out(a);
  check_report(a);
  check_gguf(a, plan);
  return plan;
}

void print_notes(const Arguments& a, const Plan& plan) {
  std::set<std::string> forms;
  for (size_t i = 0; i < plan.sliced.size(); ++i) {
    if (plan.candidates.empty() || slice::may_choose(plan.options, plan.candidates[i]))
      forms.insert(slice::describe(slice::output_form(plan.sliced[i])));
  }
  std::string all;
  for (const std::string& form : forms) all += (all.empty() ? "" : ", or ") + form;
  std::fprintf(stderr, "the result will be: %s\n", all.c_str());
  if (a.dtype == "keep" && !slice::stored_dtype(*plan.checkpoint))
    std::fprintf(
        stderr,
        "%s is quantised: the result is written in float16 (bfloat16 where a value is too "
        "large), %.2f GiB, to be quantised again\n",
        a.model.c_str(),
        2.0 *
            static_cast<double>(
                slice::count_parameters(slice::written_config(plan.sliced.front())).total) /
            0x1p30);
  const slice::ParameterCount before = slice::count_parameters(plan.dense()),
                              after = slice::count_parameters(
                                  slice::written_config(plan.sliced.front()));
  if (after.exceeds(before))
    warn("the result is larger than the model: " + grouped(after.total) +
         " parameters as stored instead of " + grouped(before.total) + ", of which a token reads " +
         grouped(after.read) + " instead of " + grouped(before.read));
}

std::optional<int64_t> self_number(const Arguments& a) {
  const auto self = std::ranges::find(a.calibration, kSelf);
  if (self == a.calibration.end()) return std::nullopt;
  return self - a.calibration.begin();
}

slice::CalibrationWindows calibration_windows(const Arguments& a, const Plan& plan) {
  slice::MixedWindows mixed;
  try {
    mixed = slice::mix_windows(*plan.tokenizer, a.calibration, a.windows, self_number(a));
  } catch (const slice::ArgumentError& error) {
    throw slice::ArgumentError(first_line(error.what()) + " (--context)");
  }
  for (size_t i = 0; i < a.calibration.size() && !a.quiet; ++i) {
    if (mixed.found[i] == mixed.wanted[i]) continue;
    std::fprintf(stderr,
                 "%s holds %ld windows of %ld tokens, fewer than the %ld asked for: using those\n",
                 a.calibration[i].c_str(), mixed.found[i], a.windows.context, mixed.wanted[i]);
  }
  std::vector<slice::CalibrationText> texts;
  for (size_t i = 0; i < a.calibration.size(); ++i) {
    const double weight = a.calibration_weights.empty() ? 0 : a.calibration_weights[i];
    texts.push_back({a.calibration[i], weight});
  }
  slice::CalibrationWindows windows(mixed.tokens, texts, mixed.text_of);  // (N, T)
  check_windows(a, plan, windows);
  return windows;
}

int64_t self_begin(const slice::Tokenizer& tokenizer) {
  if (const auto bos = tokenizer.bos_token()) return *bos;
  const std::vector<int64_t> ends = tokenizer.eos_tokens();
  if (ends.empty())
    throw slice::FormatError(
        "--calibration self: this tokenizer has neither a beginning nor an end token to begin a "
        "text with");
  return ends.front();
}

std::string model_name(const Arguments& a) {
  const fs::path path = fs::absolute(a.model).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

slice::LayerwiseOptions layerwise_options(const Arguments& a) {
  slice::LayerwiseOptions layerwise{.device = slice::choose_device(a.device),
                                    .written = dtype_option(a.dtype),
                                    .save_every = a.save_every};
  if (layerwise.device.is_cuda()) layerwise.dtype = layerwise.written;
  return layerwise;
}

int64_t written_bytes(const Arguments& a, const Plan& plan) {
  const auto dtype =
      a.dtype == "keep" ? slice::stored_dtype(*plan.checkpoint) : dtype_option(a.dtype);
  return dtype == at::kFloat ? 4 : 2;
}

}  // namespace cli
