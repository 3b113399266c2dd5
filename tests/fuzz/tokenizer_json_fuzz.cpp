// A tokenizer.json; after a zero byte each, the files beside it that may change what it says.

#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  slice::fuzz::refusable([&] {
    slice::fuzz::use_tokenizer(*slice::load_tokenizer(slice::fuzz::directory_of(
        slice::fuzz::as_text(data, size),
        {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json",
         "generation_config.json"})));
  });
  return 0;
}
