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

/// The ids of a context alone, which tell how many of those with a continuation are its.
std::vector<int64_t> encode_context(const Tokenizer& tokenizer, std::string_view context) {
  if (context.empty()) return {prefix_token(tokenizer)};
  return encode_text(tokenizer, context.substr(0, detail::end_without_space(context)));
}

Continuation encode_after(const Tokenizer& tokenizer, std::string_view context,
                          const std::vector<int64_t>& before, std::string_view continuation) {
  if (context.empty()) {
    std::vector<int64_t> ids = tokenizer.encode(continuation, /*special=*/true);
    if (ids.empty() || ids.front() != before.front()) return {before, std::move(ids)};
    return {before, {ids.begin() + 1, ids.end()}};
  }
  const std::vector<int64_t> ids =
      encode_text(tokenizer, std::string(context) + std::string(continuation));
  const auto cut = ids.begin() + static_cast<int64_t>(std::min(before.size(), ids.size()));
  return {before, {cut, ids.end()}};
}

}  // namespace

Continuation encode_continuation(const Tokenizer& tokenizer, std::string_view context,
                                 std::string_view continuation) {
  return encode_after(tokenizer, context, encode_context(tokenizer, context), continuation);
}

std::vector<Continuation> encode_continuations(const Tokenizer& tokenizer,
                                               std::span<const TextContinuation> group) {
  std::vector<Continuation> all;
  for (size_t i = 0; i < group.size(); ++i) {
    const auto& [context, continuation] = group[i];
    const std::vector<int64_t> before = i > 0 && context == group[i - 1].context
                                            ? all.back().context
                                            : encode_context(tokenizer, context);
    all.push_back(encode_after(tokenizer, context, before, continuation));
  }
  return all;
}

}  // namespace slice
