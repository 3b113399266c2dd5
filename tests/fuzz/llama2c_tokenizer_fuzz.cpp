// A llama2.c tokenizer of a model whose vocabulary the first two bytes give.

#include <cstring>

#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint16_t vocabulary;
  if (size < sizeof vocabulary) return 0;
  std::memcpy(&vocabulary, data, sizeof vocabulary);
  const int32_t header[7] = {2, 1, 1, 1, 1, vocabulary, 1};  // all that is read of the model
  static const slice::tests::TemporaryDirectory directory;
  const auto model =
      directory.write("model.bin", {reinterpret_cast<const char*>(header), sizeof header});
  directory.write("tokenizer.bin",
                  slice::fuzz::as_text(data + sizeof vocabulary, size - sizeof vocabulary));
  slice::fuzz::refusable([&] { slice::fuzz::use_tokenizer(*slice::load_tokenizer(model)); });
  return 0;
}
