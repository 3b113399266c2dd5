// Where parameters, time and memory went.

#include <algorithm>
#include <array>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/html.h"
#include "libslice/slicing/detail/report_charts.h"
#include "libslice/slicing/detail/report_sections.h"
#include "libslice/slicing/detail/report_text.h"

namespace slice::detail {

namespace {

constexpr size_t kParts = 6;
constexpr std::array<const char*, kParts> kPartNames = {
    "embeddings", "attention", "feed-forward", "shortcuts", "head", "norms and biases"};

std::array<int64_t, kParts> parts_of(const ParameterCount& c) {
  return {c.embeddings, c.attention, c.ffn(), c.shortcuts, c.head, c.others()};
}

std::string style_of(size_t part) { return "part" + std::to_string(part); }

std::string stacked(const char* name, const std::array<int64_t, kParts>& counts, double full) {
  std::vector<BarPart> parts;
  int64_t all = 0;
  for (size_t i = 0; i < kParts; ++i) {
    parts.push_back({static_cast<double>(counts[i]), style_of(i)});
    all += counts[i];
  }
  return formatted("<span class=\"thin\">{}</span>{}<span>{}</span>\n", name, bar(parts, full),
                   compact(static_cast<double>(all)));
}

std::string key(size_t part) {
  return formatted(
      "<svg class=\"key\" viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"{}\" "
      "width=\"12\" height=\"12\" rx=\"2\"/></svg>{}",
      style_of(part), kPartNames[part]);
}

struct Phase {
  std::string name;
  double amount = 0;
  std::string text;
};

/// A bar a phase, the longest as wide as its place.
std::string phase_bars(const std::vector<Phase>& phases, const char* style) {
  double most = 0;
  for (const Phase& phase : phases) most = std::max(most, phase.amount);
  std::string html = "<div class=\"bars\">";
  for (const Phase& phase : phases)
    html += formatted("<span class=\"thin\">{}</span>{}<span>{}</span>\n", html_text(phase.name),
                      bar({{phase.amount, style}}, most), phase.text);
  return html + "</div>\n";
}

std::vector<Phase> memory_phases(const std::vector<PeakReport>& peaks, int64_t PeakReport::*bytes) {
  std::vector<Phase> phases;
  for (const PeakReport& peak : peaks)
    phases.push_back({peak.phase, static_cast<double>(peak.*bytes), bytes_text(peak.*bytes)});
  return phases;
}

}  // namespace

std::string parameters_section(const SliceReport& r) {
  if (r.before.total <= 0) return {};
  const auto before = parts_of(r.before), after = parts_of(r.after);
  const auto full = static_cast<double>(std::max(r.before.total, r.after.total));
  std::string rows;
  for (size_t i = 0; i < kParts; ++i) {
    if (before[i] == 0 && after[i] == 0) continue;
    rows += row({key(i), compact(static_cast<double>(before[i])),
                 compact(static_cast<double>(after[i])),
                 change(static_cast<double>(before[i]), static_cast<double>(after[i]))});
  }
  return section("Where the parameters went", "A tied head is the embedding, and counted there.",
                 "<div class=\"bars\">" + stacked("before", before, full) +
                     stacked("after", after, full) + "</div>\n" +
                     table({"", "before", "after", "change"}, rows));
}

std::string time_section(const SliceReport& r) {
  std::vector<Phase> phases;
  double known = 0;
  const auto add = [&](const char* name, double seconds) {
    known += seconds;
    if (seconds > 0)
      phases.push_back({name, seconds,
                        seconds_text(seconds) + " <span class=\"thin\">" +
                            share_text(seconds / r.total_seconds) + "</span>"});
  };
  add("load", r.load_seconds);
  add("gradients", r.gradient_seconds);
  add("search", r.search_seconds);
  add("calibrate", r.calibrate_seconds);
  add("eigenproblems", r.eigen_seconds);
  add("refit", r.refit_seconds);
  add("recover", r.recover_seconds);
  add("rewrite", r.rewrite_seconds);
  add("save", r.save_seconds);
  if (r.total_seconds > known) add("other", r.total_seconds - known);
  return section("Time by phase",
                 formatted("{} in all; other: what is none of these, measuring too.",
                           seconds_text(r.total_seconds)),
                 phase_bars(phases, "after"));
}

std::string memory_section(const SliceReport& r) {
  const bool device = r.peak_device_bytes > 0;
  std::string lead = bytes_text(r.peak_host_bytes) + " of host memory at most";
  if (device) lead += ", " + bytes_text(r.peak_device_bytes) + " of the device";
  std::string body;
  if (!r.peaks.empty()) {
    if (device) body += "<h3>Host</h3>\n";
    body += phase_bars(memory_phases(r.peaks, &PeakReport::host_bytes), "after");
    if (device)
      body += "<h3>Device</h3>\n" +
              phase_bars(memory_phases(r.peaks, &PeakReport::device_bytes), "after");
    lead += ". The bars: the most until the end of each phase";
  }
  return section("Memory by phase", lead + ".", body);
}

}  // namespace slice::detail
