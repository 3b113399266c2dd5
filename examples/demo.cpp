// demo MODEL TEXT DIR: slices a model on one part of a text and compares it with the dense one on
// the rest: parameters, perplexity, speed and generated text. Writes DIR/sliced and
// DIR/report.html.

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cli.h"
#include "libslice/slice.h"

namespace {

constexpr int64_t kContext = 1024, kCalibrationWindows = 12, kGradientWindows = 4, kTestWindows = 6,
                  kSampleTokens = 48;
// A fixed plan that deletes FFN channels only, as many in every layer, so that a tied head stays
// tied and the result is a stock checkpoint.
constexpr double kKeptChannels = 1096.0 / 1536.0;
const std::string kPrompt = "The Debian project is an association of individuals who";

struct Measured {
  slice::ParameterCount parameters;
  double perplexity = 0, prefill_speed = 0, decode_speed = 0;  // speeds in tokens/s
  std::string sample;
};

Measured measure(const slice::Model& model, const at::Tensor& test,
                 const slice::OnProgress& on_progress) {
  Measured measured;
  measured.parameters = slice::count_parameters(model.config());
  const slice::PerplexityResult score = slice::score_windows(model, test, on_progress);
  measured.perplexity = score.perplexity;
  measured.prefill_speed = static_cast<double>(test.numel()) / score.seconds;
  const slice::Tokenizer& tokenizer = model.tokenizer();
  const double begin = cli::seconds();
  const std::vector<int64_t> ids = slice::generate(
      model, tokenizer.encode(kPrompt),
      {.max_tokens = kSampleTokens, .stop_tokens = tokenizer.eos_tokens()}, [](int64_t) {
        cli::check_interrupted();
        return true;
      });
  measured.decode_speed = static_cast<double>(ids.size()) / (cli::seconds() - begin);
  measured.sample = kPrompt + tokenizer.decode(ids);
  return measured;
}

std::string escaped(const std::string& text) {
  std::string html;
  for (const char c : text) {
    if (c == '<')
      html += "&lt;";
    else if (c == '&')
      html += "&amp;";
    else
      html += c;
  }
  return html;
}

struct Row {
  std::string name, before, after;
};

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::vector<Row> table(const Measured& before, const Measured& after) {
  return {{"parameters as stored", cli::grouped(before.parameters.total),
           cli::grouped(after.parameters.total)},
          {"parameters of the blocks", cli::grouped(before.parameters.blocks),
           cli::grouped(after.parameters.blocks)},
          {"perplexity, text not calibrated on", fixed(before.perplexity, 2),
           fixed(after.perplexity, 2)},
          {"prefill, tokens/s", fixed(before.prefill_speed, 0), fixed(after.prefill_speed, 0)},
          {"decode, tokens/s", fixed(before.decode_speed, 1), fixed(after.decode_speed, 1)}};
}

void write_page(const std::filesystem::path& path, const std::vector<Row>& rows,
                const Measured& before, const Measured& after, const slice::SliceReport& report) {
  std::ofstream page(path);
  page << "<!doctype html><meta charset=utf-8><title>libslice demo</title>\n"
          "<style>body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto}td,th{padding:.2em "
          "1em;text-align:right}"
          "td:first-child{text-align:left}pre{white-space:pre-wrap;background:#f4f4f4;padding:1em}<"
          "/style>\n"
          "<h1>Before and after "
          "slicing</h1>\n<table><tr><th></th><th>before</th><th>after</th></tr>\n";
  for (const Row& row : rows) {
    page << "<tr><td>" << row.name << "</td><td>" << row.before << "</td><td>" << row.after
         << "</td></tr>\n";
  }
  page << "</table>\n<h2>Generated text: before</h2><pre>" << escaped(before.sample)
       << "</pre>\n<h2>After</h2><pre>" << escaped(after.sample) << "</pre>\n<h2>Report</h2><pre>"
       << escaped(slice::report_json(report)) << "</pre>\n";
  page.close();
  if (!page) throw slice::Error(path.string() + ": cannot write it");
}

void demo(const std::string& path, const std::string& text, const std::filesystem::path& out) {
  std::filesystem::create_directories(out);
  slice::AtomicDirectory(out / "sliced", /*replace=*/true);  // refused now, not after the work
  const slice::OnProgress on_progress = cli::progress(/*quiet=*/false);
  slice::Model model =
      slice::load_model(path, {.device = slice::choose_device(), .dtype = at::kFloat});
  // The last windows of the text are not calibrated on.
  const at::Tensor windows = slice::tokenize_file(model.tokenizer(), text, {.context = kContext});
  const int64_t held_out = std::max<int64_t>(1, std::min(kTestWindows, windows.size(0) / 4));
  const at::Tensor test = windows.slice(0, windows.size(0) - held_out);  // (n, T)
  const at::Tensor calibration = slice::select_windows(
      windows.slice(0, 0, windows.size(0) - held_out), {.samples = kCalibrationWindows});
  cli::unwind_when_interrupted();
  slice::AtomicDirectory output(out / "sliced", /*replace=*/true);
  const Measured before = measure(model, test, on_progress);
  const slice::ModelConfig dense = model.config();
  std::vector<int64_t> widths = dense.ffn_widths();
  for (int64_t& width : widths)
    width = static_cast<int64_t>(kKeptChannels * static_cast<double>(width));
  slice::SliceReport report = slice::slice_model(
      model, calibration, {.slice = 0.0, .ffn_sizes = widths, .gradient_samples = kGradientWindows},
      on_progress);
  const Measured after = measure(model, test, on_progress);
  report.perplexity_before = before.perplexity;
  report.perplexity_after = after.perplexity;
  slice::write_model(model, output.path(), {}, on_progress);
  report.total_seconds = cli::seconds();
  slice::save_report(report, output.path() / "slice_report.json");
  cli::check_interrupted();
  output.commit();

  const std::vector<Row> rows = table(before, after);
  write_page(out / "report.html", rows, before, after, report);
  std::printf("\n%-36s %14s %14s\n", "", "before", "after");
  for (const Row& row : rows)
    std::printf("%-36s %14s %14s\n", row.name.c_str(), row.before.c_str(), row.after.c_str());
  std::printf(
      "\nbefore: %s\n\nafter:  %s\n\nThe sliced model is in %s, this report in %s; %.0f s in "
      "all.\n",
      before.sample.c_str(), after.sample.c_str(), (out / "sliced").c_str(),
      (out / "report.html").c_str(), cli::seconds());
}

}  // namespace

int main(int argc, char** argv) {
  std::string model, text, out;
  CLI::App app("Slices a model and shows it before and after.", "demo");
  app.add_option("MODEL", model, "model file or directory")->required();
  app.add_option("TEXT", text, "UTF-8 text")->required();
  app.add_option("DIR", out, "where the sliced model and report.html go")->required();
  return cli::run(app, argc, argv, [&] { demo(model, text, out); });
}
