// write_torchscript MODEL FILE: writes a model, sliced or not, for programs with LibTorch alone.

#include <cstdio>
#include <filesystem>
#include <string>

#include "cli.h"
#include "libslice/slice.h"

int main(int argc, char** argv) {
  std::string path, file, dtype = "keep";
  bool force = false, quiet = false;
  CLI::App app(
      "Writes a model as one TorchScript file, which LibTorch and PyTorch run by themselves.",
      "write_torchscript");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("FILE", file, "file to write; must not exist without --force")->required();
  cli::add_dtype_option(app, dtype,
                        "type of the weights in the file; keep is the model's type, float16 or "
                        "bfloat16 where it is quantised");
  app.add_flag("--force", force, "replace an existing file");
  app.add_flag("--quiet", quiet, "no progress");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    const slice::ModelConfig config = slice::read_config(path);
    slice::check_torchscript_path(file, force);
    if (const auto obstacle = slice::torchscript_obstacle(config))
      throw slice::FormatError(path + ": " + *obstacle);
    const slice::Model model = slice::load_model(path);
    slice::save_torchscript(model, file, {.dtype = cli::dtype_option(dtype), .replace = force},
                            cli::progress(quiet));
    if (!quiet)
      std::printf("%s  %s bytes; forward(tokens int64 (batch, length)) gives logits float32\n",
                  file.c_str(),
                  cli::grouped(static_cast<int64_t>(std::filesystem::file_size(file))).c_str());
  });
}
