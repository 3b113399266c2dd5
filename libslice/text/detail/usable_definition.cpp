#include "libslice/text/detail/usable_definition.h"

#include <string_view>
#include <unordered_map>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/base/detail/warn.h"

namespace slice::detail {
namespace {

bool has_token(const BpeDefinition& definition, int64_t id) {
  return id >= 0 && id < std::ssize(definition.tokens) && !definition.tokens[id].empty();
}

void drop_tokens(BpeDefinition& definition) {
  std::vector<std::string> unreadable, equal;
  std::unordered_map<std::string_view, size_t> first;
  first.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    std::string& token = definition.tokens[id];
    if (token.empty()) continue;
    if (!is_usable(token)) {
      token.clear();
      unreadable.push_back(std::to_string(id));
      continue;
    }
    const auto [place, fresh] = first.emplace(token, id);
    if (!fresh) equal.push_back(formatted("{} as {}", id, place->second));
  }
  if (!unreadable.empty()) {
    warn("{}: tokens that are not UTF-8 are ignored: {}", definition.source, shortened(unreadable));
  }
  if (!equal.empty()) {
    warn("{}: equal tokens, of which a text gets the first: {}", definition.source,
         shortened(equal));
  }
}

void drop_added(BpeDefinition& definition) {
  std::vector<std::string> dropped;
  std::erase_if(definition.added, [&](const AddedToken& token) {
    if (token.content.empty()) return true;  // it is found nowhere
    if (has_token(definition, token.id) && is_usable(token.content)) return false;
    dropped.push_back(std::to_string(token.id));
    return true;
  });
  if (!dropped.empty()) {
    warn("{}: added tokens outside the vocabulary are ignored: {}", definition.source,
         shortened(dropped));
  }
}

void drop_merges(BpeDefinition& definition) {
  const size_t before = definition.merges.size();
  std::erase_if(definition.merges, [&](const MergeTable::Merge& merge) {
    return !has_token(definition, merge.left) || !has_token(definition, merge.right) ||
           !has_token(definition, merge.merged);
  });
  if (const size_t dropped = before - definition.merges.size(); dropped > 0) {
    warn("{}: merges of ids without a token are ignored: {}", definition.source, dropped);
  }
}

void drop_named(BpeDefinition& definition) {
  const auto drop = [&](std::optional<int64_t>& id, const char* what) {
    if (!id || has_token(definition, *id)) return;
    warn("{}: the {} {} is not a token and is ignored", definition.source, what, *id);
    id.reset();
  };
  drop(definition.bos, "beginning-of-sequence token");
  drop(definition.unknown, "unknown token");
  drop(definition.padding, "padding token");
  std::vector<std::string> dropped;
  std::erase_if(definition.eos, [&](int64_t id) {
    if (has_token(definition, id)) return false;
    dropped.push_back(std::to_string(id));
    return true;
  });
  if (!dropped.empty()) {
    warn("{}: end-of-sequence tokens outside the vocabulary are ignored: {}", definition.source,
         shortened(dropped));
  }
  if (definition.adds_bos && !definition.bos) {
    warn("{}: a beginning-of-sequence token is to be added, but none is named: none is added",
         definition.source);
    definition.adds_bos = false;
  }
}

}  // namespace

bool is_usable(const std::string& token) {
  try {
    check_utf8(token, "");
  } catch (const FormatError&) {
    return false;
  }
  return !token.empty();
}

void drop_unusable(BpeDefinition& definition) {
  drop_tokens(definition);
  drop_added(definition);
  drop_merges(definition);
  drop_named(definition);
}

}  // namespace slice::detail
