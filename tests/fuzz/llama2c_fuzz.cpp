// A llama2.c model, opened and read whole.

#include "libslice/checkpoint/llama2c.h"
#include "tests/fuzz/input.h"
#include "tests/support/hostile_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const slice::tests::MemoryFile memory(slice::fuzz::as_text(data, size));
  slice::fuzz::refusable([&] {
    const slice::Llama2cFile file(memory.path());
    for (const auto& [name, shape] : file.tensors()) file.read(name);
  });
  return 0;
}
