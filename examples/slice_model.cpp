// slice_model MODEL --calibration TEXT --out DIR: makes a trained language model smaller without
// training it.

#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "last_words.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/slice.h"
#include "slice_options.h"

namespace {

struct Arguments {
  std::string model, out, gguf, report, perplexity_text, dtype = "keep";
  std::optional<at::Device> device;
  std::vector<std::string> calibration;
  cli::SliceArguments slice;
  slice::WindowOptions windows{.samples = 128};
  int64_t perplexity_windows = 16;
  bool force = false, dry_run = false, json = false, quiet = false, layerwise = false;
  bool resume = false;
  int64_t save_every = 0;
};

slice::SliceOptions options_for(const Arguments& a, const slice::ModelConfig& dense) {
  slice::SliceOptions options = cli::slice_options(a.slice, dense);
  options.fit_weight_bytes = a.dtype == "fp32" ? 4 : 2;
  return options;
}

/// The candidates of a search, from headers alone.
void print_candidates(const Arguments& a, const slice::ModelConfig& dense) {
  const auto found = slice::candidates(dense, options_for(a, dense));
  if (a.json) {
    nlohmann::ordered_json json = {{"candidates", nlohmann::ordered_json::array()}};
    for (const slice::Candidate& c : found) {
      json["candidates"].push_back({{"k", c.kept},
                                    {"tied", c.tied},
                                    {"ffn_channels", c.channels},
                                    {"parameters", c.after.total},
                                    {"blocks", c.after.blocks}});
    }
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  std::printf("    k   channels a layer     parameters         blocks   head\n");
  for (const slice::Candidate& c : found) {
    std::printf("%5ld   %16.1f   %12s   %12s   %s\n", c.kept,
                static_cast<double>(c.channels) / static_cast<double>(dense.layers),
                cli::grouped(c.after.total).c_str(), cli::grouped(c.after.blocks).c_str(),
                c.tied ? "tied" : "own");
  }
}

slice::LayerwiseOptions layerwise_options(const Arguments& a) {
  slice::LayerwiseOptions layerwise{.device = slice::choose_device(a.device),
                                    .written = cli::dtype_option(a.dtype),
                                    .save_every = a.save_every};
  if (layerwise.device.is_cuda()) layerwise.dtype = layerwise.written;
  return layerwise;
}

/// The plan and its cost, from headers alone.
void print_plan(const Arguments& a) {
  const auto checkpoint = slice::open_checkpoint(a.model);
  const slice::ModelConfig& dense = checkpoint->config();
  if (a.slice.options.budgeted()) return print_candidates(a, dense);
  const slice::SliceOptions options = options_for(a, dense);
  const slice::ModelConfig sliced = slice::planned_config(dense, options);
  std::vector<int64_t> sizes(dense.sites());
  for (int64_t site = 0; site < dense.sites(); ++site) sizes[site] = sliced.stream_size(site);
  const slice::ParameterCount before = slice::count_parameters(dense),
                              after = slice::count_parameters(slice::written_config(sliced));
  const int64_t tokens = *a.windows.samples * a.windows.context;
  const slice::ExpectedCost cost =
      slice::expected_cost(dense, sliced, options.method, tokens, slice::kHostChunkTokens,
                           slice::stored_dtype(*checkpoint) == at::kFloat ? 4 : 2);
  std::optional<slice::LayerwiseCost> layerwise;
  if (a.layerwise) {
    const slice::LayerwiseOptions where = layerwise_options(a);
    layerwise =
        slice::expected_layerwise_cost(*checkpoint, sliced, options.method, tokens,
                                       a.windows.context, where, slice::free_memory(where.device));
  }
  const int64_t memory = layerwise ? layerwise->host_bytes : cost.host_bytes;
  const int64_t disk = layerwise ? layerwise->disk_bytes : cost.disk_bytes;
  const double seconds = cost.flop / cli::measured_flop_per_second();
  if (a.json) {
    nlohmann::ordered_json json = {{"plan", {{"k", sizes}, {"ffn", sliced.ffn_widths()}}},
                                   {"parameters",
                                    {{"before", before.total},
                                     {"after", after.total},
                                     {"blocks_before", before.blocks},
                                     {"blocks_after", after.blocks}}},
                                   {"expected",
                                    {{"host_bytes", memory},
                                     {"disk_bytes", disk},
                                     {"flop", cost.flop},
                                     {"seconds", seconds}}}};
    if (layerwise) {
      json["expected"]["device_bytes"] = layerwise->device_bytes;
      json["expected"]["scratch_bytes"] = layerwise->scratch_bytes;
      json["expected"]["signal"] = slice::signal_place_name(layerwise->signal);
      json["expected"]["signal_bytes"] = layerwise->signal_bytes;
      json["expected"]["layer_bytes"] = layerwise->layer_bytes;
      json["expected"]["journal_bytes"] = layerwise->journal_bytes;
    }
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  std::printf("plan        hidden size %ld -> %ld at %zu sites (head %ld)\n", dense.hidden_size,
              sizes.front(), sizes.size(), sizes.back());
  std::printf("parameters  %s -> %s as stored, %s -> %s in blocks (%s of them shortcuts)\n",
              cli::grouped(before.total).c_str(), cli::grouped(after.total).c_str(),
              cli::grouped(before.blocks).c_str(), cli::grouped(after.blocks).c_str(),
              cli::grouped(after.shortcuts).c_str());
  std::printf(
      "expected    %.1f GiB of memory, %.1f GiB on disk, about %.0f s on this machine (%.1f "
      "TFLOP)\n",
      memory / 0x1p30, disk / 0x1p30, seconds, cost.flop / 1e12);
  if (!layerwise) return;
  if (layerwise->device_bytes > 0) {
    std::printf("            %.1f GiB of the device, and half of the rest for longer chunks\n",
                layerwise->device_bytes / 0x1p30);
  }
  if (layerwise->scratch_bytes > 0) {
    std::printf("            %.1f GiB more on disk while it runs: the signal fits into no memory\n",
                layerwise->scratch_bytes / 0x1p30);
  } else if (layerwise->signal == slice::SignalPlace::kHost) {
    std::printf("            with the signal in host memory: the device has no room for it\n");
  }
  if (layerwise->journal_bytes == 0) return;
  std::printf(
      "meanwhile   at most %.1f GiB more on disk for --resume: twice a signal of %.2f GiB, saved "
      "%s,\n"
      "            and %.3f GiB for every layer since\n",
      layerwise->journal_bytes / 0x1p30, layerwise->signal_bytes / 0x1p30,
      a.save_every > 0 ? ("every " + std::to_string(a.save_every) + " layers").c_str()
                       : "where it costs at most 5 % of the time",
      layerwise->layer_bytes / 0x1p30);
}

void print_summary(const Arguments& a, const slice::SliceReport& r) {
  if (a.json) {
    std::printf("%s\n", slice::report_json(r).c_str());
    return;
  }
  std::printf("parameters  %s -> %s as stored, %s -> %s in blocks\n",
              cli::grouped(r.before.total).c_str(), cli::grouped(r.after.total).c_str(),
              cli::grouped(r.before.blocks).c_str(), cli::grouped(r.after.blocks).c_str());
  if (r.perplexity_before)
    std::printf("perplexity  %.3f -> %.3f\n", *r.perplexity_before, *r.perplexity_after);
  std::printf("calibrated  on %s tokens, %s\n", cli::grouped(r.calibration_tokens).c_str(),
              r.device.c_str());
  if (r.tf32) std::printf("products    float32 in TF32 (--tf32 off: exact)\n");
  std::printf("peak memory %.2f GiB", r.peak_host_bytes / 0x1p30);
  if (r.peak_device_bytes > 0)
    std::printf(", %.2f GiB of the device", r.peak_device_bytes / 0x1p30);
  std::printf("\nseconds     %.1f\nwritten     %s\n", r.total_seconds, a.out.c_str());
}

constexpr char kResume[] = " (the same command with --resume resumes it)";

/// The windows of all calibration texts; says which texts were short.
at::Tensor calibration_windows(const Arguments& a, const slice::Tokenizer& tokenizer) {
  const slice::MixedWindows mixed = slice::mix_windows(tokenizer, a.calibration, a.windows);
  for (size_t i = 0; i < a.calibration.size() && !a.quiet; ++i) {
    if (mixed.found[i] == mixed.wanted[i]) continue;
    std::fprintf(stderr,
                 "%s holds %ld windows of %ld tokens, fewer than the %ld asked for: using those\n",
                 a.calibration[i].c_str(), mixed.found[i], a.windows.context, mixed.wanted[i]);
  }
  return mixed.tokens;  // (N, T)
}

/// Refuses a GGUF file that cannot be written, before the work begins. Of a search that is not
/// known: it may find a plan that llama.cpp runs or one that it does not.
void check_gguf(const Arguments& a, const slice::ModelConfig& dense,
                const slice::SliceOptions& options) {
  if (a.gguf.empty()) return;
  if (!a.force && std::filesystem::exists(a.gguf))
    throw slice::Error(a.gguf + ": exists already, and --force was not given");
  if (options.budgeted()) return;
  if (const auto obstacle = slice::gguf_obstacle(slice::planned_config(dense, options)))
    throw slice::FormatError(a.gguf + ": " + *obstacle);
}

/// Refuses a report that cannot be written, before the work begins. The directory of the result is
/// not there yet.
void check_report(const Arguments& a) {
  if (a.report.empty()) return;
  namespace fs = std::filesystem;
  const fs::path report = fs::absolute(a.report),
                 parent = fs::weakly_canonical(report.parent_path()),
                 out = fs::weakly_canonical(fs::absolute(a.out)) / "";
  if (parent / report.filename() / "" == out)
    throw slice::Error(a.report + ": is the directory of --out");
  if (parent / "" != out) slice::check_report_path(a.report);
}

void warn_of_few_tokens(const Arguments& a, const at::Tensor& tokens, int64_t hidden_size) {
  if (a.quiet || tokens.numel() >= hidden_size) return;
  std::fprintf(
      stderr,
      "warning: %ld calibration tokens are fewer than the hidden size %ld: the covariance is "
      "rank-deficient\n",
      tokens.numel(), hidden_size);
}

/// Layer by layer: neither the device nor the host's memory has to hold the model.
void slice_layer_by_layer(const Arguments& a, slice::PartialDirectory& output,
                          const slice::OnProgress& on_progress) {
  const auto tokenizer = slice::load_tokenizer(a.model);
  const at::Tensor tokens = calibration_windows(a, *tokenizer);  // (N, T)
  const auto checkpoint = slice::open_checkpoint(a.model);
  warn_of_few_tokens(a, tokens, checkpoint->config().hidden_size);
  slice::LayerwiseOptions layerwise = layerwise_options(a);
  const slice::SliceOptions options = options_for(a, checkpoint->config());
  if (options.method == slice::Method::kSliceGpt) layerwise.journal = output.journal();
  slice::SliceReport report = slice::slice_checkpoint(*checkpoint, tokens, options, output.path(),
                                                      layerwise, tokenizer.get(), on_progress);
  report.total_seconds = cli::seconds();
  slice::save_report(report, output.path() / "slice_report.json");
  cli::check_interrupted();
  output.commit();
  if (!a.report.empty()) slice::save_report(report, a.report);
  print_summary(a, report);
}

/// The same; where a run that fails can be resumed, the message says so.
void slice_resumably(const Arguments& a) {
  slice::PartialDirectory output(a.out, {.replace = a.force, .resume = a.resume});
  bool under_way = false, said = false;
  const auto kept = [&] { return under_way && output.resumable(); };
  try {
    slice_layer_by_layer(a, output, [&, tell = cli::progress(a.quiet)](const slice::Progress& p) {
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

/// Every process of a group slices; the first one measures, writes and prints.
void slice_and_save(Arguments a) {
  const slice::ProcessGroup group = cli::join_group(a.device);
  const bool writes = group.rank() == 0;
  a.quiet = a.quiet || !writes;
  std::optional<slice::AtomicDirectory> output;
  if (writes) output.emplace(a.out, a.force);  // refused now rather than after the work
  const auto on_progress = cli::progress(a.quiet);
  const auto tokenizer = slice::load_tokenizer(a.model);
  const at::Tensor tokens = calibration_windows(a, *tokenizer);  // (N, T)
  at::Tensor test;
  if (writes && !a.perplexity_text.empty()) {
    test = slice::tokenize_text(*tokenizer, slice::read_text(a.perplexity_text),
                                {.context = a.windows.context,
                                 .samples = a.perplexity_windows,
                                 .order = slice::WindowOrder::kFirst,
                                 .bos = a.windows.bos});
  }
  cli::check_interrupted();
  // On the CPU the weights are held in float32 whatever they are stored in.
  const at::Device device = slice::choose_device(a.device);
  slice::Model model = cli::load(a.model, a.device, device.is_cpu() ? "fp32" : a.dtype);
  const double load_seconds = cli::seconds();
  warn_of_few_tokens(a, tokens, model.config().hidden_size);
  const slice::SliceOptions options = options_for(a, model.config());
  check_gguf(a, model.config(), options);
  const auto score = [&] { return slice::score_windows(model, test, on_progress).perplexity; };
  std::optional<double> before;
  if (test.defined()) before = score();
  slice::SliceReport report = slice::slice_model(model, tokens, options, on_progress, group);
  if (!writes) return;
  report.load_seconds = load_seconds;
  if (before) {
    report.perplexity_before = before;
    report.perplexity_after = score();
  }
  const double save_begin = cli::seconds();
  slice::write_model(model, output->path(), {.dtype = cli::dtype_option(a.dtype)}, on_progress);
  report.save_seconds = cli::seconds() - save_begin;
  report.total_seconds = cli::seconds();
  report.peak_host_bytes = slice::peak_host_bytes();
  report.peak_device_bytes = slice::peak_device_bytes(device);
  slice::save_report(report, output->path() / "slice_report.json");
  cli::check_interrupted();
  output->commit();
  if (!a.gguf.empty())
    slice::save_gguf(model, a.gguf, {.dtype = cli::dtype_option(a.dtype), .replace = a.force});
  if (!a.report.empty()) slice::save_report(report, a.report);
  print_summary(a, report);
}

/// Options that layer by layer excludes, or that need it.
void check_layerwise(const Arguments& a) {
  if (!a.layerwise && (a.resume || a.save_every > 0))
    throw CLI::ValidationError("--resume, --save-every", "want --layerwise");
  if ((a.resume || a.save_every > 0) && a.slice.options.method != slice::Method::kSliceGpt)
    throw CLI::ValidationError("--resume, --save-every", "resume is implemented for slicegpt only");
  if (!a.layerwise) return;
  if (!a.gguf.empty() || !a.perplexity_text.empty())
    throw CLI::ValidationError("--layerwise", "excludes --gguf and --perplexity");
  if (a.slice.options.budgeted())
    throw CLI::ValidationError("--layerwise",
                               "want --slice: the search for a budget needs the whole model");
  const auto meeting = slice::rendezvous_from_environment();
  if (meeting && meeting->size > 1)
    throw CLI::ValidationError(
        "--layerwise", "runs in one process, WORLD_SIZE is " + std::to_string(meeting->size));
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app(
      "Makes a trained language model smaller without training it (SliceGPT, arXiv 2401.15024).",
      "slice_model");
  app.add_option("MODEL", a.model, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("--calibration", a.calibration,
                 "text to calibrate on: UTF-8, .jsonl, .json of Alpaca; - is stdin; given several "
                 "times, each text gives its share of the windows")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--out", a.out, "directory to write; must not exist without --force");
  cli::add_slice_options(app, a.slice);
  app.add_option("--gguf", a.gguf, "also write the result as one GGUF file, for llama.cpp");
  cli::add_window_options(app, a.windows, "samples");
  cli::add_device_option(app, a.device);
  cli::add_dtype_option(app, a.dtype, "dtype of the stored weights, and on a GPU of those held");
  app.add_option("--perplexity", a.perplexity_text,
                 "text whose perplexity is measured before and after");
  app.add_option("--windows", a.perplexity_windows, "windows of it at most")->capture_default_str();
  app.add_option("--report", a.report, "also write the report there");
  app.add_flag(
      "--layerwise", a.layerwise,
      "read, slice and write layer by layer: for models larger than the device's memory or "
      "the host's");
  app.add_flag("--stream", a.layerwise)->group("");  // the name before 0.2
  app.add_flag("--resume", a.resume,
               "with --layerwise: resume a killed or failed run, if there is one; slicegpt only");
  app.add_option(
         "--save-every", a.save_every,
         "with --layerwise: layers between two saves of the signal for --resume; by default "
         "as many as keep their cost below 5 %")
      ->check(CLI::PositiveNumber);
  app.add_flag("--force", a.force,
               "replace an existing directory, and, without --resume, an unfinished one");
  app.add_flag("--dry-run", a.dry_run, "print the plan and its cost; reads headers only");
  app.add_flag("--json", a.json, "print results as one JSON object");
  app.add_flag("--quiet", a.quiet, "no progress");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    cli::check_slice_options(a.slice);
    check_layerwise(a);
    if (a.dry_run) return print_plan(a);
    if (a.calibration.empty()) throw CLI::RequiredError("--calibration");
    if (a.out.empty()) throw CLI::RequiredError("--out");
    check_report(a);
    a.layerwise ? slice_resumably(a) : slice_and_save(a);
  });
}
