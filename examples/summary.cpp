#include "summary.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "cli.h"

namespace cli {
namespace {

/// A path for a shell.
std::string for_shell(const std::string& path) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-_./+").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (std::ranges::all_of(path, plain)) return path;
  std::string text = "'";
  for (const char c : path) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

/// The same for Python.
std::string for_python(const std::string& path) {
  std::string text = "'";
  for (const char c : path) text += (c == '\'' || c == '\\' ? "\\" : "") + std::string(1, c);
  return text + "'";
}

void print_written(const Arguments& a) {
  int64_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(a.out, ignored)) {
    const auto size = entry.file_size(ignored);
    if (!ignored) bytes += static_cast<int64_t>(size);
  }
  const std::string page =
      a.no_report_html
          ? ""
          : "; a page about it: " + (std::filesystem::path(a.out) / "slice_report.html").string();
  std::printf("written     %s (%.1f MB)%s\n", a.out.c_str(), bytes / 1e6, page.c_str());
  if (!a.gguf.empty()) std::printf("            %s\n", a.gguf.c_str());
}

/// Three ways to use what was written.
void print_next(const Arguments& a, bool stock) {
  std::printf("next        evaluate %s --perplexity TEXT\n", for_shell(a.out).c_str());
  std::printf("            generate %s --prompt 'Once upon a time'\n", for_shell(a.out).c_str());
  std::printf("            transformers.AutoModelForCausalLM.from_pretrained(%s%s)\n",
              for_python(a.out).c_str(), stock ? "" : ", trust_remote_code=True");
}

}  // namespace

void print_summary(const Arguments& a, const slice::SliceReport& r) {
  end_bar();
  if (a.json) {
    std::printf("%s\n", slice::report_json(r).c_str());
    return;
  }
  std::printf("parameters  %s -> %s as stored, %s -> %s in blocks\n",
              grouped(r.before.total).c_str(), grouped(r.after.total).c_str(),
              grouped(r.before.blocks).c_str(), grouped(r.after.blocks).c_str());
  print_sizes(r.before, r.after, r.weight_bytes);
  std::printf("runs in     %s\n", slice::describe(r.form).c_str());
  print_price(r);
  if (r.perplexity_before)
    std::printf("perplexity  %.3f -> %.3f\n", *r.perplexity_before, *r.perplexity_after);
  std::printf("calibrated  on %s tokens, %s\n", grouped(r.calibration_tokens).c_str(),
              r.device.c_str());
  for (const slice::TextReport& text : r.texts) {
    if (!text.held_out_before) continue;
    const double before = std::exp(*text.held_out_before), after = std::exp(*text.held_out_after);
    std::printf("held out    %s: perplexity %.3f -> %.3f on %ld of %ld windows\n",
                text.name.c_str(), before, after, text.held_out, text.windows);
  }
  if (r.verified)
    std::printf(
        "verified    files and model are equal; held-out loss %.4f -> %.4f on %ld windows\n",
        r.verified->loss_before, r.verified->loss_after, r.verified->windows);
  if (r.recover_epochs > 0)
    std::printf("trained     every sublayer, %ld epochs at most, in %.1f s (--recover)\n",
                r.recover_epochs, r.recover_seconds);
  if (r.tf32) std::printf("products    float32 in TF32 (--tf32 off: exact)\n");
  std::printf("peak memory %.2f GiB", r.peak_host_bytes / 0x1p30);
  if (r.peak_device_bytes > 0)
    std::printf(", %.2f GiB of the device", r.peak_device_bytes / 0x1p30);
  std::printf("\nseconds     %.1f\n", r.total_seconds);
  print_written(a);
  print_next(a, r.form.stock);
}

}  // namespace cli
