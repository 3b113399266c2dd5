#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/evaluate/continuations.h"
#include "libslice/evaluate/detail/task_text.h"
#include "libslice/text/tokenizer.h"

namespace slice {
namespace {

/// Ids of a text, with the token that begins one where the tokenizer adds it.
std::vector<int64_t> encode_text(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int64_t> ids = tokenizer.encode(text, /*special=*/true);
  const auto bos = tokenizer.bos_token();
  if (tokenizer.adds_bos() && bos && (ids.empty() || ids.front() != *bos))
    ids.insert(ids.begin(), *bos);
  return ids;
}

/// What a text without a context comes after.
int64_t prefix_token(const Tokenizer& tokenizer) {
  if (const auto bos = tokenizer.bos_token()) return *bos;
  const std::vector<int64_t> ends = tokenizer.eos_tokens();
  SLICE_FORMAT_CHECK(!ends.empty(),
                     "an empty context needs a tokenizer with a beginning or end "
                     "token, this one has neither");
  return ends.front();
}

}  // namespace

Continuation encode_continuation(const Tokenizer& tokenizer, std::string_view context,
                                 std::string_view continuation) {
  if (context.empty()) {
    std::vector<int64_t> ids = tokenizer.encode(continuation, /*special=*/true);
    const int64_t prefix = prefix_token(tokenizer);
    if (ids.empty() || ids.front() != prefix) return {{prefix}, std::move(ids)};
    return {{prefix}, {ids.begin() + 1, ids.end()}};
  }
  std::string whole(context);
  whole += continuation;
  const std::string_view shown = context.substr(0, detail::end_without_space(context));
  std::vector<int64_t> ids = encode_text(tokenizer, whole);
  const std::vector<int64_t> before = encode_text(tokenizer, shown);
  const auto cut = ids.begin() + static_cast<int64_t>(std::min(before.size(), ids.size()));
  return {before, {cut, ids.end()}};
}

}  // namespace slice
