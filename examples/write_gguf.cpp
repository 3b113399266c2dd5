// write_gguf MODEL FILE: writes a model, sliced or not, as one GGUF file for llama.cpp.

#include "cli.h"
#include "libslice/slice.h"

int main(int argc, char** argv) {
  std::string path, file, dtype = "keep";
  bool force = false, quiet = false;
  CLI::App app("Writes a model as one GGUF file for llama.cpp.", "write_gguf");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("FILE", file, "file to write; must not exist without --force")->required();
  cli::add_dtype_option(app, dtype,
                        "type of the stored matrices; keep is float16 where the model "
                        "is quantised and every weight fits");
  app.add_flag("--force", force, "replace an existing file");
  app.add_flag("--quiet", quiet, "no progress");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    const slice::ModelConfig config = slice::read_config(path);
    slice::check_gguf_path(file, force);
    auto obstacle = slice::gguf_obstacle(config);
    const auto tokenizer = slice::load_tokenizer(path);
    if (!obstacle) obstacle = slice::gguf_obstacle(*tokenizer, config.vocabulary_size);
    if (obstacle) throw slice::FormatError(path + ": " + *obstacle);
    const slice::Model model = slice::load_model(path);
    slice::save_gguf(model, file, {.dtype = cli::dtype_option(dtype), .replace = force},
                     cli::progress(quiet));
  });
}
