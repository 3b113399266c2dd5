#include "libslice/text/encode_prompt.h"

namespace slice {

std::vector<int64_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int64_t> ids = tokenizer.encode(text, /*special=*/true);
  if (tokenizer.adds_bos() && tokenizer.bos_token())
    ids.insert(ids.begin(), *tokenizer.bos_token());
  return ids;
}

}  // namespace slice
