#include "examples/serve/authorization.h"

#include <cstddef>

namespace serve {
namespace {

/// Looks at every byte of `shown`, whatever the key is.
bool same(std::string_view shown, std::string_view key) {
  size_t difference = shown.size() ^ key.size();
  for (size_t i = 0; i < shown.size(); ++i) {
    const char other = key.empty() ? '\0' : key[i % key.size()];
    difference |= static_cast<size_t>(static_cast<unsigned char>(shown[i]) ^
                                      static_cast<unsigned char>(other));
  }
  return difference == 0;
}

}  // namespace

bool is_authorized(std::string_view header, const std::vector<std::string>& keys) {
  if (keys.empty()) return true;
  constexpr std::string_view kBearer = "Bearer ";
  const bool bearer = header.starts_with(kBearer);
  const std::string_view shown = bearer ? header.substr(kBearer.size()) : std::string_view();
  bool found = false;
  for (const std::string& key : keys) found |= same(shown, key);
  return bearer && found;
}

}  // namespace serve
