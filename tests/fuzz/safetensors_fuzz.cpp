// A safetensors file, opened and read whole.

#include "tests/fuzz/input.h"
#include "tests/support/hostile_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  slice::tests::reads_whole<slice::SafetensorsFile>(slice::fuzz::as_text(data, size));
  return 0;
}
