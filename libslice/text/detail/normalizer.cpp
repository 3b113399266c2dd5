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

void replace_matches_inplace(std::string& text, const std::string& pattern, const std::string& to) {
  RegexMatcher regex(pattern, "normalizer");
  regex.reset(text);
  std::string result;
  size_t last = 0, begin = 0, end = 0;
  while (regex.next(begin, end)) {
    result.append(text, last, begin - last).append(to);
    check_growth(text.size(), result.size());
    last = end;
  }
  text = std::move(result.append(text, last));
}

void trim_start_inplace(std::string& text) {
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size(); begin = offset) {
    if (!is_white_space(next_character(text, offset))) break;
  }
  text.erase(0, begin);
}

void trim_end_inplace(std::string& text) {
  size_t kept = 0;
  for (size_t offset = 0; offset < text.size();) {
    if (!is_white_space(next_character(text, offset))) kept = offset;
  }
  text.resize(kept);
}

NormalForm form_of(Normalizer::Kind kind) {
  if (kind == Normalizer::Kind::kNfd) return NormalForm::kNfd;
  if (kind == Normalizer::Kind::kNfkc) return NormalForm::kNfkc;
  return kind == Normalizer::Kind::kNfkd ? NormalForm::kNfkd : NormalForm::kNfc;
}

void normalize_inplace(std::string& text, const Normalizer& normalizer, bool at_start) {
  using Kind = Normalizer::Kind;
  const auto& [kind, from, to] = normalizer;
  switch (kind) {
    case Kind::kNfc:
    case Kind::kNfd:
    case Kind::kNfkc:
    case Kind::kNfkd:
      text = to_normal_form(text, form_of(kind));
      break;
    case Kind::kLowercase:
      text = to_lower_case(text);
      break;
    case Kind::kDropMarks:
      text = without_marks(text);
      break;
    case Kind::kReplace:
      replace_all_inplace(text, from, to);
      break;
    case Kind::kReplacePattern:
      replace_matches_inplace(text, from, to);
      break;
    case Kind::kPrepend:
      if (!text.empty()) text.insert(0, to);
      break;
    case Kind::kPrependAtStart:
      if (!at_start) break;
      [[fallthrough]];
    case Kind::kPrependUnlessThere:
      if (!text.empty() && !text.starts_with(to)) text.insert(0, to);
      break;
    case Kind::kSqueeze:
      squeeze_inplace(text, from);
      break;
    case Kind::kTrimEnd:
      while (!from.empty() && text.ends_with(from)) text.resize(text.size() - from.size());
      break;
    case Kind::kTrimSpaceStart:
      trim_start_inplace(text);
      break;
    case Kind::kTrimSpaceEnd:
      trim_end_inplace(text);
      break;
  }
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
    normalize_inplace(text, normalizer, at_start);
  }
  return text;
}

}  // namespace slice::detail
