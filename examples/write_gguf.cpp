// write_gguf MODEL FILE: writes a model, sliced or not, as one GGUF file for llama.cpp.

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "cli.h"
#include "libslice/format/gguf.h"
#include "libslice/slice.h"

namespace {

/// "169 tensors Q8_0, 61 F32"
std::string types_of(const std::string& file) {
  const slice::GgufFile gguf(file);
  std::map<std::string, int> counts;
  for (const auto& [name, tensor] : gguf.tensors())
    ++counts[slice::GgufFile::type_name(tensor.type)];
  std::string text;
  for (const auto& [type, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) +
            (text.empty() ? " tensors " : " ") + type;
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::string path, file, type = "keep";
  bool force = false, quiet = false;
  CLI::App app("Writes a model as one GGUF file for llama.cpp.", "write_gguf");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("FILE", file, "file to write; must not exist without --force")->required();
  cli::add_gguf_type_option(app, type);
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
    slice::save_gguf(model, file, {.type = cli::gguf_type_option(type), .replace = force},
                     cli::progress(quiet));
    if (!quiet)
      std::printf("%s  %s bytes, %s\n", file.c_str(),
                  cli::grouped(static_cast<int64_t>(std::filesystem::file_size(file))).c_str(),
                  types_of(file).c_str());
  });
}
