// A byte that names a task, and the file of its questions.

#include "libslice/evaluate/tasks.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const slice::tests::TemporaryDirectory directory;
  const auto& names = slice::task_names();
  const std::string& name = names[data[0] % names.size()];
  const bool lines = data[0] >= 128;  // HellaSwag's form of six lines
  const auto file =
      directory.write(name + (lines ? ".txt" : ".jsonl"), slice::fuzz::as_text(data + 1, size - 1));
  slice::fuzz::refusable([&] { slice::read_task(name, directory.path()); });
  std::filesystem::remove(file);
  return 0;
}
