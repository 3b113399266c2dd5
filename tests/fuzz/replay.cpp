// replay DIRECTORY: gives every file of DIRECTORY/<target>/ to that fuzz target once, without
// libFuzzer. What crashes or takes longer than ten seconds ends it, after its name was printed.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "libslice/base/detail/file.h"

// Each target's LLVMFuzzerTestOneInput, which CMake renames.
#define SLICE_TARGETS(use)                                                                        \
  use(calibration) use(config) use(gguf) use(jinja) use(json_schema) use(llama2c)                 \
      use(llama2c_tokenizer) use(request) use(resume_journal) use(safetensors) use(sentencepiece) \
          use(slice_report) use(tasks) use(template_arguments) use(tokenizer_json)                \
              use(vocab_merges)
#define SLICE_DECLARE(name) int fuzz_##name(const uint8_t* data, size_t size);
#define SLICE_ENTRY(name) {#name, fuzz_##name},

extern "C" {
SLICE_TARGETS(SLICE_DECLARE)
}

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  constexpr unsigned kSeconds = 10;
  if (argc != 2) return 2;
  const std::map<std::string, int (*)(const uint8_t*, size_t)> targets = {
      SLICE_TARGETS(SLICE_ENTRY)};
  int inputs = 0;
  for (const auto& [name, target] : targets) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(fs::path(argv[1]) / name, none)) {
      std::printf("%s\n", entry.path().c_str());
      std::fflush(stdout);
      const std::string bytes = slice::detail::read_text_file(entry.path());
      alarm(kSeconds);
      target(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      alarm(0);
      ++inputs;
    }
  }
  std::printf("%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}
