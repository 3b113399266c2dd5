// clang++ -fsanitize=fuzzer,address,undefined: any input may be refused, none may crash.

#include "libslice/base/error.h"
#include "libslice/text/sources/tokenizer_sources.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  slice::detail::TokenizerTexts texts;
  texts.sentencepiece.assign(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer =
        slice::make_bpe_tokenizer(slice::detail::read_sentencepiece_tokenizer(texts));
    tokenizer->decode(tokenizer->encode("a text, \u6f22\u5b57 \U0001f600", true), true);
  } catch (const slice::Error&) {
  }
  return 0;
}
