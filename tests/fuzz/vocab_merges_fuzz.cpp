// GPT-2's vocab.json and merges.txt, and the files beside them, with a zero byte between two.

#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  slice::fuzz::refusable([&] {
    slice::fuzz::use_tokenizer(*slice::load_tokenizer(slice::fuzz::directory_of(
        slice::fuzz::as_text(data, size), {"vocab.json", "merges.txt", "tokenizer_config.json",
                                           "added_tokens.json", "special_tokens_map.json"})));
  });
  return 0;
}
