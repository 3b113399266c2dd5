// slice_model MODEL --calibration TEXT --out DIR: makes a trained language model smaller, without
// training it unless --recover is given.

#include <ATen/ATen.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "check_arguments.h"
#include "check_model.h"
#include "cli.h"
#include "last_words.h"
#include "libslice/slice.h"
#include "run_cost.h"
#include "slice_options.h"
#include "slice_plan.h"
#include "slice_samples.h"
#include "summary.h"
#include "verify.h"

namespace {

using cli::Arguments;

constexpr char kResume[] = " (the same command with --resume resumes it)";

/// The files beside the directory, which is in place by now: a failure says so.
void save_others(const Arguments& a, const slice::SliceReport& report, const slice::Model* model) {
  const char* hint = "";
  try {
    if (!a.report.empty()) slice::save_report(report, a.report);
    if (a.gguf.empty()) return;
    hint = "; write_gguf makes a GGUF file of it";
    const auto type = cli::gguf_type_option(a.gguf_type == "keep" ? a.dtype : a.gguf_type);
    slice::save_gguf(*model, a.gguf, {.type = type, .replace = a.force});
  } catch (const slice::Error& error) {
    throw slice::Error(cli::first_line(error.what()) + " (the sliced model is whole in " + a.out +
                       hint + ")");
  }
}

/// The page beside the model, with the hashes of its files, and last the report, with the page's too.
void save_reports(const Arguments& a, slice::SliceReport& report,
                  const std::filesystem::path& directory) {
  const char* page = "slice_report.html";
  report.files = slice::file_hashes(directory);
  if (!a.no_report_html) {
    slice::save_report_html(report, directory / page);
    report.files[page] = slice::file_hash(directory / page);
  }
  slice::save_report(report, directory / "slice_report.json");
}

/// Layer by layer: neither the device nor the host's memory has to hold the model.
void slice_layer_by_layer(const Arguments& a, const cli::Plan& plan,
                          const slice::CalibrationWindows& windows, slice::PartialDirectory& output,
                          const slice::OnProgress& on_progress) {
  slice::LayerwiseOptions layerwise = cli::layerwise_options(a);
  layerwise.journal = output.journal();
  slice::SliceReport report =
      slice::slice_checkpoint(*plan.checkpoint, windows, plan.options, output.path(), layerwise,
                              plan.tokenizer.get(), on_progress);
  report.model = cli::model_name(a);
  report.model_sha256 = slice::model_fingerprint(a.model);
  report.total_seconds = cli::seconds();
  save_reports(a, report, output.path());
  cli::check_interrupted();
  output.commit();
  save_others(a, report, nullptr);
  cli::print_summary(a, report);
}

/// The same; where a run that fails can be resumed, the message says so.
void slice_resumably(const Arguments& a, const cli::Plan& plan) {
  const slice::CalibrationWindows windows = cli::calibration_windows(a, plan);  // (N, T)
  cli::check_interrupted();
  cli::unwind_when_interrupted();
  slice::PartialDirectory output(a.out, {.replace = a.force, .resume = a.resume});
  bool under_way = false, said = false;
  const auto kept = [&] { return under_way && output.resumable(); };
  try {
    slice_layer_by_layer(a, plan, windows, output,
                         [&, tell = cli::progress(a.quiet, cli::run_phases(a, plan, windows, 0))](
                             const slice::Progress& p) {
                           under_way = true;
                           if (!said && output.resumable()) {
                             cli::set_last_words(kResume);
                             said = true;
                           }
                           tell(p);
                         });
  } catch (const slice::Interrupted&) {
    if (!kept()) throw;
    throw slice::Interrupted("interrupted: the same command with --resume resumes it");
  } catch (const std::bad_alloc&) {
    throw;  // set_last_words has its message
  } catch (const std::exception& error) {
    if (!kept()) throw;
    throw slice::Error(cli::first_line(error.what()) + kResume);
  }
}

/// The windows that perplexity is measured on; undefined where it is not.
at::Tensor test_windows(const Arguments& a, const cli::Plan& plan) {
  if (a.perplexity_text.empty()) return {};
  return cli::read_windows(*plan.tokenizer, a.perplexity_text,
                           {.context = a.windows.context,
                            .samples = a.perplexity_windows,
                            .order = slice::WindowOrder::kFirst,
                            .bos = a.windows.bos});
}

/// The windows of `counted`, those of the text `self` written by the model: by the first process of
/// a group, for all. Other texts are not read again: one may be standard input.
slice::CalibrationWindows with_self(const Arguments& a, const cli::Plan& plan,
                                    const slice::CalibrationWindows& counted,
                                    const slice::Model& model, const slice::ProcessGroup& group,
                                    const slice::OnProgress& on_progress) {
  const std::optional<int64_t> self = cli::self_number(a);
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < counted.tokens().size(0); ++row)
    if (counted.text_of()[row] == self) rows.push_back(row);
  if (rows.empty()) return counted;
  at::Tensor tokens = counted.tokens().clone();  // (N, T)
  at::Tensor windows = at::zeros({std::ssize(rows), tokens.size(1)}, at::kLong);
  if (group.rank() == 0)
    windows =
        slice::self_windows(model, windows.size(0), windows.size(1),
                            cli::self_begin(*plan.tokenizer), a.slice.options.seed, on_progress);
  group.copy_from_inplace(0, windows);
  tokens.index_copy_(0, at::tensor(rows, at::kLong), windows);
  return {tokens, counted.texts(), counted.text_of()};
}

/// Every process of a group slices; the first one measures, writes and prints.
void slice_and_save(Arguments a, const cli::Plan& plan) {
  const slice::ProcessGroup group = cli::join_group(a.device);
  const bool writes = group.rank() == 0;
  const slice::CalibrationWindows counted = cli::calibration_windows(a, plan);  // (N, T)
  if (cli::self_number(a)) cli::self_begin(*plan.tokenizer);  // refuses before the model is loaded
  const at::Tensor test = writes ? test_windows(a, plan) : at::Tensor();
  const auto on_progress =
      cli::progress(a.quiet, cli::run_phases(a, plan, counted, test.defined() ? test.numel() : 0));
  cli::check_interrupted();
  // On the CPU the weights are held in float32 whatever they are stored in.
  const at::Device device = slice::choose_device(a.device);
  slice::Model model = cli::load(a.model, a.device, device.is_cpu() ? "fp32" : a.dtype);
  const double load_seconds = cli::seconds();
  std::vector<slice::PeakReport> peaks;
  const auto note_peak = [&](const char* phase) {
    peaks.push_back({phase, slice::peak_host_bytes(), slice::peak_device_bytes(device)});
  };
  note_peak("load");
  std::optional<slice::AtomicDirectory> output;
  cli::unwind_when_interrupted();
  if (writes) output.emplace(a.out, a.force);
  const slice::CalibrationWindows windows = with_self(a, plan, counted, model, group, on_progress);
  const auto score = [&](const at::Tensor& some) {
    return slice::score_windows(model, some, on_progress).perplexity;
  };
  std::optional<double> before;
  if (test.defined()) before = score(test);
  const at::Tensor verified = a.verify && writes ? cli::verified_windows(windows) : at::Tensor();
  const double dense_loss = verified.defined() ? std::log(score(verified)) : 0;
  std::vector<std::vector<int64_t>> prompts;
  if (writes) prompts = cli::sample_prompts(a, plan, test.defined() ? test : windows.tokens());
  const auto written = cli::written_after(model, *plan.tokenizer, prompts);
  slice::SliceReport report = slice::slice_model(model, windows, plan.options, on_progress, group);
  if (!writes) return;
  const auto rewritten = cli::written_after(model, *plan.tokenizer, prompts);
  for (size_t i = 0; i < prompts.size(); ++i)
    report.samples.push_back({plan.tokenizer->decode(prompts[i]), written[i], rewritten[i]});
  report.model = cli::model_name(a);
  report.model_sha256 = slice::model_fingerprint(a.model);
  report.load_seconds = load_seconds;
  peaks.insert(peaks.end(), report.peaks.begin(), report.peaks.end());
  if (const auto dtype = cli::dtype_option(a.dtype))
    report.weight_bytes = static_cast<int64_t>(c10::elementSize(*dtype));
  if (before) {
    report.perplexity_before = before;
    report.perplexity_after = score(test);
  }
  const double save_begin = cli::seconds();
  slice::write_model(model, output->path(), {.dtype = cli::dtype_option(a.dtype)}, on_progress);
  report.save_seconds = cli::seconds() - save_begin;
  if (a.verify)
    report.verified = cli::verify(model, output->path(), cli::dtype_option(a.dtype), verified,
                                  dense_loss, on_progress);
  report.total_seconds = cli::seconds();
  report.peak_host_bytes = slice::peak_host_bytes();
  report.peak_device_bytes = slice::peak_device_bytes(device);
  note_peak("save");
  report.peaks = peaks;
  save_reports(a, report, output->path());
  cli::check_interrupted();
  output->commit();
  save_others(a, report, &model);
  cli::print_summary(a, report);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app(
      "Makes a trained language model smaller, without training it unless --recover is given "
      "(SliceGPT, arXiv 2401.15024).",
      "slice_model");
  app.add_option("MODEL", a.model, "Hugging Face directory, .gguf, or llama2.c .bin");
  app.add_option("--calibration", a.calibration,
                 std::string("text to calibrate on; given several times, each gives its share of "
                             "the windows; self: what the model writes itself, which is what it "
                             "is calibrated on where no text is given (a file of that name: "
                             "./self): ") +
                     cli::kTextHelp)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--calibration-weights", a.calibration_weights,
                 "refit: W,W,… what each of these texts counts; by default as much as it has "
                 "windows")
      ->check(CLI::Range(1e-6, 1e6))
      ->delimiter(',');
  app.add_option("--out", a.out, "directory to write; must not exist without --force");
  cli::add_slice_options(app, a.slice);
  app.add_option("--gguf", a.gguf, "also write the result as one GGUF file, for llama.cpp");
  cli::add_gguf_type_option(app, a.gguf_type);
  cli::add_window_options(app, a.windows, "samples");
  cli::add_device_option(app, a.device);
  cli::add_dtype_option(app, a.dtype, "dtype of the stored weights, and on a GPU of those held");
  auto* perplexity = app.add_option("--perplexity", a.perplexity_text,
                                    "text whose perplexity is measured before and after");
  app.add_option("--windows", a.perplexity_windows, "windows of it at most")
      ->check(cli::at_least(1))
      ->needs(perplexity)
      ->capture_default_str();
  app.add_option("--prompt", a.prompts,
                 "text that both models continue, for the report; given several times, each; by "
                 "default the beginnings of two windows")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--report", a.report, "also write the report there");
  app.add_flag("--no-report-html", a.no_report_html,
               "no slice_report.html beside slice_report.json");
  app.add_flag(
      "--layerwise", a.layerwise,
      "read, slice and write layer by layer: for models larger than the device's memory or "
      "the host's");
  app.add_flag("--stream", a.layerwise)->group("");  // the name before 0.2
  app.add_flag("--resume", a.resume,
               "with --layerwise: resume a killed or failed run, if there is one");
  app.add_option(
         "--save-every", a.save_every,
         "with --layerwise: layers between two saves of the signal for --resume; by default "
         "as many as keep their cost below 5 %")
      ->check(CLI::PositiveNumber);
  app.add_option("--check", a.check,
                 "nothing but this: compare the files of a directory that was written with the "
                 "hashes in its slice_report.json, and with MODEL where one is given");
  app.add_flag("--verify", a.verify,
               "load what was written again, compare it bit by bit, and report the loss on windows "
               "that are held out, dense and sliced");
  app.add_flag("--force", a.force,
               "replace an existing directory, and, without --resume, an unfinished one");
  app.add_flag("--dry-run", a.dry_run,
               "print the plan and its cost: reads headers and the calibration text");
  app.add_flag("--json", a.json, "print results as one JSON object");
  app.add_flag("--quiet", a.quiet, "no progress");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    if (!a.check.empty()) return cli::check_model(a.check, a.model, a.json);
    if (a.model.empty()) throw CLI::RequiredError("MODEL");
    cli::check_slice_options(a.slice);
    cli::check_arguments(a);
    if (a.calibration.empty() && !a.dry_run) {
      if (a.layerwise) throw CLI::RequiredError("--calibration");
      a.calibration = {cli::kSelf};
    }
    if (a.out.empty() && !a.dry_run) throw CLI::RequiredError("--out");
    const auto meeting = slice::rendezvous_from_environment();
    const bool writes = !meeting || meeting->rank == 0;
    a.quiet = a.quiet || !writes;
    const cli::Plan plan = cli::make_plan(app, a, writes);
    if (a.dry_run) return cli::print_plan(a, plan);
    if (!a.quiet) cli::print_notes(a, plan);
    a.layerwise ? slice_resumably(a, plan) : slice_and_save(a, plan);
  });
}
