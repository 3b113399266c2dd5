// A GGUF file: as a container read whole, as a model, and as a tokenizer.

#include "libslice/checkpoint/checkpoint.h"
#include "tests/fuzz/input.h"
#include "tests/support/hostile_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using slice::fuzz::refusable;
  const std::string_view bytes = slice::fuzz::as_text(data, size);
  if (!slice::tests::reads_whole<slice::GgufFile>(bytes)) return 0;
  const slice::tests::MemoryFile memory(bytes);
  refusable([&] {
    const auto checkpoint = slice::open_checkpoint(memory.path());
    for (const auto& [name, entry] : checkpoint->tensors()) checkpoint->read(name);
  });
  refusable([&] { slice::fuzz::use_tokenizer(*slice::load_tokenizer(memory.path())); });
  return 0;
}
