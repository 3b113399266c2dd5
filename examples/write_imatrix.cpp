// write_imatrix MODEL FILE --calibration TEXT: an importance matrix for llama.cpp's llama-quantize.

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "cli.h"
#include "libslice/slice.h"

namespace {

std::vector<std::string> names_of(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths)
    names.push_back(std::filesystem::path(path).filename().string());
  return names;
}

}  // namespace

int main(int argc, char** argv) {
  std::string path, file, dtype = "keep";
  std::vector<std::string> texts;
  std::optional<at::Device> device;
  slice::WindowOptions windows{.samples = 128};
  bool force = false, quiet = false;
  CLI::App app(
      "Writes how large what each matrix of a model multiplies is, for llama-quantize --imatrix.",
      "write_imatrix");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("FILE", file, "file to write; must not exist without --force")->required();
  app.add_option("--calibration", texts,
                 std::string("text that the model reads; given several times, each gives its share "
                             "of the windows: ") +
                     cli::kTextHelp)
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  cli::add_window_options(app, windows, "samples");
  cli::add_device_option(app, device);
  cli::add_dtype_option(app, dtype, "type of the weights in memory; keep is float32 on the CPU");
  app.add_flag("--force", force, "replace an existing file");
  app.add_flag("--quiet", quiet, "no progress");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    const slice::ModelConfig config = slice::read_config(path);
    cli::fit_context(app, windows, config);
    slice::check_gguf_path(file, force);
    if (const auto obstacle = slice::gguf_obstacle(config))
      throw slice::FormatError(path + ": " + *obstacle);
    const auto tokenizer = slice::load_tokenizer(path);
    const slice::MixedWindows mixed = slice::mix_windows(*tokenizer, texts, windows);  // (N, T)
    const slice::Model model = cli::load(path, device, dtype);
    slice::save_imatrix(model, mixed.tokens, file, {.texts = names_of(texts), .replace = force},
                        cli::progress(quiet));
    if (!quiet)
      std::printf("%s  over %s tokens; llama-quantize --imatrix reads it\n", file.c_str(),
                  cli::grouped(mixed.tokens.numel()).c_str());
  });
}
