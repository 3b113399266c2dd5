#include "libslice/text/incremental_decoder.h"

#include <algorithm>
#include <string_view>

#include "libslice/base/detail/unicode.h"

namespace slice {

namespace {

/// Ids that are kept, so that a text goes on as in the middle of one; and when the others go.
constexpr size_t kKept = 8, kMost = 40;

}  // namespace

IncrementalDecoder::IncrementalDecoder(const Tokenizer& tokenizer, std::span<const int64_t> prompt)
    : tokenizer_(tokenizer), ids_(prompt.begin(), prompt.end()) {
  given_ = tokenizer_.decode(ids_).size();
  shorten();
}

std::string IncrementalDecoder::push(int64_t id) {
  ids_.push_back(id);
  const std::string text = tokenizer_.decode(ids_);
  const std::string_view rest = std::string_view(text).substr(given_);
  const size_t whole = rest.size() - detail::incomplete_utf8(rest);
  std::string piece = detail::valid_utf8(rest.substr(0, whole));
  given_ += whole;
  if (given_ == text.size()) shorten();
  return piece;
}

std::string IncrementalDecoder::finish() {
  const std::string text = tokenizer_.decode(ids_);
  const std::string rest = text.substr(given_);
  given_ = text.size();
  return detail::valid_utf8(rest);
}

/// Forgets ids whose text was given. Those that stay must have a text, since what follows could be
/// the beginning of one otherwise.
void IncrementalDecoder::shorten() {
  if (ids_.size() <= kMost) return;
  const std::vector<int64_t> last(ids_.end() - kKept, ids_.end());
  const size_t size = tokenizer_.decode(last).size();
  if (size == 0) return;
  ids_ = last;
  given_ = size;
}

}  // namespace slice
