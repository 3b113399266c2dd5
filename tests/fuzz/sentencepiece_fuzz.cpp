// A tokenizer.model of SentencePiece.

#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const slice::tests::TemporaryDirectory directory;
  directory.write("tokenizer.model", slice::fuzz::as_text(data, size));
  slice::fuzz::refusable(
      [&] { slice::fuzz::use_tokenizer(*slice::load_tokenizer(directory.path())); });
  return 0;
}
