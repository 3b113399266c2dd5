// demo MODEL TEXT DIR: slices a model on one part of a text and compares it with the dense one on
// the rest: parameters, perplexity, speed and generated text. Writes DIR/sliced, with the report of
// it as a page.

#include <cstdio>
#include <filesystem>

#include "cli.h"
#include "libslice/slice.h"

namespace {

constexpr int64_t kContext = 1024, kCalibrationWindows = 12, kGradientWindows = 4, kTestWindows = 6,
                  kSampleTokens = 48;
// A fixed plan that deletes FFN channels only, as many in every layer, so that a tied head stays
// tied and the result is a stock checkpoint.
constexpr double kKeptChannels = 1096.0 / 1536.0;
const std::vector<std::string> kPrompts = {
    "The Debian project is an association of individuals who", "Water boils when",
    "The capital of France is"};

struct Measured {
  slice::ParameterCount parameters;
  double perplexity = 0;
  slice::SpeedReport speed;
  std::vector<std::string> texts;  // after kPrompts
};

Measured measure(const slice::Model& model, const at::Tensor& test,
                 const slice::OnProgress& on_progress) {
  Measured measured;
  measured.parameters = slice::count_parameters(model.config());
  const slice::PerplexityResult score = slice::score_windows(model, test, on_progress);
  measured.perplexity = score.perplexity;
  measured.speed.prefill = static_cast<double>(test.numel()) / score.seconds;
  const slice::Tokenizer& tokenizer = model.tokenizer();
  const double begin = cli::seconds();
  double written = 0;
  for (const std::string& prompt : kPrompts) {
    const std::vector<int64_t> ids = slice::generate(
        model, tokenizer.encode(prompt),
        {.max_tokens = kSampleTokens, .stop_tokens = tokenizer.eos_tokens()}, [](int64_t) {
          cli::check_interrupted();
          return true;
        });
    written += static_cast<double>(ids.size());
    measured.texts.push_back(tokenizer.decode(ids));
  }
  measured.speed.decode = written / (cli::seconds() - begin);
  return measured;
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
          {"prefill, tokens/s", fixed(before.speed.prefill, 0), fixed(after.speed.prefill, 0)},
          {"decode, tokens/s", fixed(before.speed.decode, 1), fixed(after.speed.decode, 1)}};
}

/// What slice_model does not know.
void add_measured(slice::SliceReport& report, const Measured& before, const Measured& after) {
  report.perplexity_before = before.perplexity;
  report.perplexity_after = after.perplexity;
  report.speed_before = before.speed;
  report.speed_after = after.speed;
  for (size_t i = 0; i < kPrompts.size(); ++i)
    report.samples.push_back({kPrompts[i], before.texts[i], after.texts[i]});
}

/// The run's parts, in passes of a window through the model. @param tested  windows
std::vector<cli::Phase> phases(const slice::ModelConfig& dense, double tested) {
  constexpr double kGradients = 6.0 * kGradientWindows, kSlicing = 8.0 * kCalibrationWindows;
  return {{.name = "score", .flop = tested},
          {.name = "gradients", .flop = kGradients},
          {.name = "slice", .flop = kSlicing, .parts = dense.layers, .part = "layer"},
          {.name = "score", .flop = tested},
          {.name = "save", .flop = 1}};
}

/// The same with the other programs, and what to do with the result.
void print_next(const std::string& path, const std::string& text, const std::string& sliced,
                int64_t width) {
  std::printf(
      "\nNext, once the other programs are built (cmake --build --preset cpu or cuda):\n"
      "  the same  slice_model %s --calibration %s --context %ld --samples %ld --samples-gradient "
      "%ld --ffn %ld --out DIR\n"
      "  a chat    generate %s --chat --prompt 'What is a prime number?'\n"
      "  a GGUF    write_gguf %s %s.gguf --gguf-type q8_0\n",
      path.c_str(), text.c_str(), kContext, kCalibrationWindows, kGradientWindows, width,
      sliced.c_str(), sliced.c_str(), sliced.c_str());
}

void demo(const std::string& path, const std::string& text, const std::filesystem::path& out) {
  std::filesystem::create_directories(out);
  slice::AtomicDirectory(out / "sliced", /*replace=*/true);  // refused now, not after the work
  slice::Model model =
      slice::load_model(path, {.device = slice::choose_device(), .dtype = at::kFloat});
  // The last windows of the text are not calibrated on.
  const at::Tensor windows = slice::tokenize_file(model.tokenizer(), text, {.context = kContext});
  const int64_t held_out = std::max<int64_t>(1, std::min(kTestWindows, windows.size(0) / 4));
  const at::Tensor test = windows.slice(0, windows.size(0) - held_out);  // (n, T)
  const at::Tensor calibration = slice::select_windows(
      windows.slice(0, 0, windows.size(0) - held_out), {.samples = kCalibrationWindows});
  const slice::OnProgress on_progress = cli::progress(
      /*quiet=*/false, phases(model.config(), static_cast<double>(test.size(0))));
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
  report.model = std::filesystem::path(path).filename().string();
  add_measured(report, before, after);
  slice::write_model(model, output.path(), {}, on_progress);
  report.total_seconds = cli::seconds();
  report.peak_host_bytes = slice::peak_host_bytes();
  slice::save_report(report, output.path() / "slice_report.json");
  slice::save_report_html(report, output.path() / "slice_report.html");
  cli::check_interrupted();
  output.commit();

  const std::vector<Row> rows = table(before, after);
  cli::end_bar();
  std::printf("\n%-36s %14s %14s\n", "", "before", "after");
  for (const Row& row : rows)
    std::printf("%-36s %14s %14s\n", row.name.c_str(), row.before.c_str(), row.after.c_str());
  std::printf("\n%s\n  before: %s\n  after:  %s\n", kPrompts[0].c_str(), before.texts[0].c_str(),
              after.texts[0].c_str());
  std::printf("\nThe sliced model is in %s, its report is %s; %.0f s in all.\n",
              (out / "sliced").c_str(), (out / "sliced" / "slice_report.html").c_str(),
              cli::seconds());
  print_next(path, text, out / "sliced", widths.front());
}

}  // namespace

int main(int argc, char** argv) {
  std::string model, text, out;
  CLI::App app("Slices a model and shows it before and after.", "demo");
  app.add_option("MODEL", model, "model file or directory")->required();
  app.add_option("TEXT", text, "UTF-8 text")->required();
  app.add_option("DIR", out, "where the sliced model and its report go")->required();
  return cli::run(app, argc, argv, [&] { demo(model, text, out); });
}
