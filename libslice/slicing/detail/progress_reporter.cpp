#include "libslice/slicing/detail/progress_reporter.h"

#include <ATen/ATen.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/device/detail/memory.h"
#include "libslice/method/plan.h"

namespace slice::detail {

namespace {

/// With five significant digits, which keeps a report short.
double rounded(double number) {
  if (!(number > 0)) return 0;
  const double scale = std::pow(10, 4 - std::floor(std::log10(number)));
  return std::round(number * scale) / scale;
}

/// SiteReport::spectrum of shares of the variance (n).
std::vector<double> spectrum_of(const at::Tensor& shares) {
  const at::Tensor sorted = std::get<0>(
      shares.to(at::kCPU, at::kDouble).clamp_min(0).sort(/*dim=*/0, /*descending=*/true));
  const double* values = sorted.const_data_ptr<double>();
  const int64_t n = sorted.size(0), points = std::min(n, kSpectrumPoints);
  std::vector<double> spectrum;
  for (int64_t i = 0; i < points; ++i) {
    const int64_t rank = points > 1 ? i * (n - 1) / (points - 1) : 0;
    spectrum.push_back(rounded(values[rank]));
  }
  return spectrum;
}

}  // namespace

Progress ProgressReporter::progress() const {
  return {.phase = "slice",
          .step = static_cast<int64_t>(report_.sites.size()),
          .steps = steps_,
          .seconds = clock_.seconds()};
}

void ProgressReporter::chunk_done(int64_t chunk_tokens) {
  passed_ += chunk_tokens;
  if (!on_progress_) return;
  Progress p = progress();
  const auto passed = static_cast<double>(passed_);
  const auto left = static_cast<double>(tokens_ * (passes_ - begun_)) - passed;
  if (!report_.sites.empty()) p.kept_variance = report_.sites.back().kept_variance;
  p.tokens_per_second = p.seconds > 0 ? passed / p.seconds : 0;
  p.eta = passed > 0 ? p.seconds * left / passed : 0;
  on_progress_(p);
}

void ProgressReporter::note(const std::string& words) {
  if (!on_progress_) return;
  Progress p = progress();
  p.note = words;
  on_progress_(p);
}

void ProgressReporter::note_smaller_chunks(int64_t chunk_tokens) {
  note(formatted("{} is short of memory: continuing in chunks of {} tokens", report_.device,
                 chunk_tokens));
}

void ProgressReporter::signal_lives(const Signal& x, bool chosen) {
  farthest_ = std::max(farthest_, x.place());
  report_.signal = signal_place_name(farthest_);
  if (x.place() == SignalPlace::kDevice) return;
  const std::string reason =
      chosen ? ""
             : formatted(": {} has no room for {:.2f} GiB beside what a layer needs",
                         report_.device, static_cast<double>(x.room_bytes()) / 0x1p30);
  note(formatted("the signal of {} tokens is kept {}{}", x.tokens(),
                 x.place() == SignalPlace::kHost ? "in host memory" : "on disk", reason));
}

void ProgressReporter::site_done(const std::string& name, int64_t k, double kept_variance,
                                 const at::Tensor& shares) {
  const double now = clock_.seconds();
  report_.sites.push_back(
      {static_cast<int64_t>(report_.sites.size()), name, k, kept_variance, now - last_});
  if (shares.defined()) {
    report_.sites.back().spectrum = spectrum_of(shares);
    report_.sites.back().directions = shares.size(0);
  }
  last_ = now;
  release_free_memory();
}

void ProgressReporter::site_recalled(const std::string& name, int64_t k, double kept_variance,
                                     double seconds) {
  report_.sites.push_back(
      {static_cast<int64_t>(report_.sites.size()), name, k, kept_variance, seconds});
  last_ = clock_.seconds();
}

void note_peak(std::vector<PeakReport>& peaks, const std::string& phase, at::Device device) {
  peaks.push_back({phase, peak_host_bytes(), peak_device_bytes(device)});
}

void describe_run(SliceReport& report, const ModelAdapter& model, const CalibrationWindows& windows,
                  const std::vector<int64_t>& stream_sizes) {
  const at::Tensor& tokens = windows.tokens();
  report.hidden_size = model.hidden_size;
  report.stream_sizes = stream_sizes;
  report.calibration_tokens = tokens.numel();
  report.calibration_sequences = tokens.size(0);
  report.calibration_context = tokens.size(1);
  report.calibration_sha256 = sha256(tokens);
  report.texts.clear();
  for (int64_t text = 0; text < std::ssize(windows.texts()); ++text) {
    const CalibrationText& described = windows.texts()[text];
    report.texts.push_back({.name = described.name,
                            .weight = described.weight,
                            .windows = windows.windows(text),
                            .held_out = std::ssize(windows.rows(WindowUse::kHeldOut, text))});
  }
  report.dtype = dtype_name(model.head.weight.scalar_type());
  report.device = model.head.weight.device().str();
}

void describe_model(SliceReport& report, const ModelConfig& dense, const ModelConfig& sliced,
                    at::ScalarType written) {
  report.family = dense.family;
  report.layers = dense.layers;
  report.dense_ffn_sizes = dense.ffn_widths();
  report.head_counts.assign(dense.layers, dense.heads);
  if (report.ffn_sizes.empty()) report.ffn_sizes = dense.ffn_widths();
  report.tied = sliced.tied_head;
  report.before = count_parameters(dense);
  report.after = count_parameters(written_config(sliced));
  report.weight_bytes = static_cast<int64_t>(c10::elementSize(written));
  report.form = output_form(sliced);
}

}  // namespace slice::detail
