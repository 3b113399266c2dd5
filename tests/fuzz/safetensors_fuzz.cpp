// clang++ -fsanitize=fuzzer,address,undefined: any input may be refused, none may crash.

#include "tests/support/hostile_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  slice::tests::reads_whole<slice::SafetensorsFile>({reinterpret_cast<const char*>(data), size});
  return 0;
}
