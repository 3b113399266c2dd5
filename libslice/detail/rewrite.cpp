#include "libslice/detail/rewrite.h"

#include "libslice/detail/unicode.h"

namespace slice::detail {

void replace_all_inplace(std::string& text, std::string_view from, std::string_view to) {
  size_t at = from.empty() ? std::string::npos : text.find(from);
  if (at == std::string::npos) return;
  std::string result;
  result.reserve(text.size());
  size_t last = 0;
  for (; at != std::string::npos; at = text.find(from, last)) {
    result.append(text, last, at - last).append(to);
    last = at + from.size();
  }
  text = std::move(result.append(text, last));
}

std::string rewritten(std::string text, const std::vector<Rewrite>& rewrites, bool at_start) {
  for (const Rewrite& rewrite : rewrites) {
    switch (rewrite.kind) {
      case Rewrite::Kind::kNfc:
        text = to_nfc(text);
        break;
      case Rewrite::Kind::kReplace:
        replace_all_inplace(text, rewrite.from, rewrite.to);
        break;
      case Rewrite::Kind::kPrepend:
        if (!text.empty()) text.insert(0, rewrite.to);
        break;
      case Rewrite::Kind::kPrependAtStart:
        if (!at_start) break;
        [[fallthrough]];
      case Rewrite::Kind::kPrependUnlessThere:
        if (!text.empty() && !text.starts_with(rewrite.to)) text.insert(0, rewrite.to);
        break;
    }
  }
  return text;
}

}  // namespace slice::detail
