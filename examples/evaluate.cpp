// evaluate MODEL --perplexity TEXT: how well a model predicts a text.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "libslice/slice.h"

int main(int argc, char** argv) {
  std::string path, text, dtype = "keep";
  std::optional<at::Device> device;
  slice::WindowOptions windows{.order = slice::WindowOrder::kFirst};
  bool json = false, quiet = false;
  CLI::App app("Measures a language model.", "evaluate");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("--perplexity", text, std::string("text to predict: ") + cli::kTextHelp)
      ->required();
  cli::add_window_options(app, windows, "windows");
  cli::add_device_option(app, device);
  cli::add_dtype_option(app, dtype, "type of the weights in memory; keep is float32 on the CPU");
  app.add_flag("--json", json, "print results as one JSON object");
  app.add_flag("--quiet", quiet, "no progress");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    cli::fit_context(app, windows, slice::read_config(path));
    const auto tokenizer = slice::load_tokenizer(path);
    slice::WindowOptions whole = windows;
    whole.samples.reset();
    const at::Tensor all = cli::read_windows(*tokenizer, text, whole);  // (N, T)
    const at::Tensor tokens = slice::select_windows(all, windows);
    const slice::Model model = cli::load(path, device, dtype);
    const slice::PerplexityResult result =
        slice::score_windows(model, tokens, cli::progress(quiet));
    if (json) {
      const nlohmann::ordered_json object = {
          {"perplexity", result.perplexity}, {"tokens_scored", result.tokens_scored},
          {"tokens_total", all.numel()},     {"windows", tokens.size(0)},
          {"context", tokens.size(1)},       {"seconds", result.seconds}};
      std::printf("%s\n", object.dump(2).c_str());
    } else {
      std::printf("perplexity  %.4f over %s tokens in %ld windows of %ld (%.0f tokens/s)\n",
                  result.perplexity, cli::grouped(result.tokens_scored).c_str(), tokens.size(0),
                  tokens.size(1), static_cast<double>(tokens.numel()) / result.seconds);
    }
  });
}
