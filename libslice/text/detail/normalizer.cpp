#include "libslice/text/detail/normalizer.h"

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"

namespace slice::detail {
namespace {

/// Refuses what makes a text much longer: a file's replacements, each of which doubles what the one
/// before it left, would fill any memory. NFKC makes at most 18 bytes of one.
void check_growth(size_t from, size_t to) {
  constexpr size_t kMostTimes = 64, kMostBytes = 1 << 20;
  SLICE_FORMAT_CHECK(to / kMostTimes <= from + kMostBytes / kMostTimes,
                     "the tokenizer's normalizers make {} bytes and more of {}", to, from);
}

void squeeze_inplace(std::string& text, std::string_view from) {
  std::string result;
  result.reserve(text.size());
  bool after = true;
  for (std::string_view rest = text; !rest.empty();) {
    const bool here = !from.empty() && rest.starts_with(from);
    const size_t size = here ? from.size() : 1;
    if (!here || !after) result += rest.substr(0, size);
    after = here;
    rest.remove_prefix(size);
  }
  text = std::move(result);
}

}  // namespace

void replace_all_inplace(std::string& text, std::string_view from, std::string_view to) {
  size_t at = from.empty() ? std::string::npos : text.find(from);
  if (at == std::string::npos) return;
  std::string result;
  result.reserve(text.size());
  size_t last = 0;
  for (; at != std::string::npos; at = text.find(from, last)) {
    result.append(text, last, at - last).append(to);
    last = at + from.size();
    check_growth(text.size(), result.size());
  }
  text = std::move(result.append(text, last));
}

std::string normalized(std::string text, const std::vector<Normalizer>& normalizers,
                       bool at_start) {
  const size_t before = text.size();
  for (const Normalizer& normalizer : normalizers) {
    check_growth(before, text.size());
    switch (normalizer.kind) {
      case Normalizer::Kind::kNfc:
        text = to_nfc(text);
        break;
      case Normalizer::Kind::kReplace:
        replace_all_inplace(text, normalizer.from, normalizer.to);
        break;
      case Normalizer::Kind::kPrepend:
        if (!text.empty()) text.insert(0, normalizer.to);
        break;
      case Normalizer::Kind::kPrependAtStart:
        if (!at_start) break;
        [[fallthrough]];
      case Normalizer::Kind::kPrependUnlessThere:
        if (!text.empty() && !text.starts_with(normalizer.to)) text.insert(0, normalizer.to);
        break;
      case Normalizer::Kind::kSqueeze:
        squeeze_inplace(text, normalizer.from);
        break;
      case Normalizer::Kind::kTrimEnd:
        while (!normalizer.from.empty() && text.ends_with(normalizer.from)) {
          text.resize(text.size() - normalizer.from.size());
        }
        break;
    }
  }
  return text;
}

}  // namespace slice::detail
