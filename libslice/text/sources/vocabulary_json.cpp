#include "libslice/text/sources/vocabulary_json.h"

#include <algorithm>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"

namespace slice::detail {

bool place_token(const std::string& token, int64_t id, int64_t limit,
                 std::vector<std::string>& tokens) {
  if (id < 0 || id >= limit) return false;
  if (id >= std::ssize(tokens)) tokens.resize(id + 1);
  if (!tokens[id].empty() && tokens[id] != token) return false;
  tokens[id] = token;
  return true;
}

TextMap<int32_t> read_vocabulary(const nlohmann::json& vocabulary, const std::string& where,
                                 BpeDefinition& definition) {
  SLICE_FORMAT_CHECK(vocabulary.is_object(), "{}: want an object, got {}", where,
                     vocabulary.type_name());
  std::vector<std::pair<int64_t, std::string>> entries;
  for (const auto& [token, id] : vocabulary.items()) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: token '{}': want an integer id, got {}", where,
                       token, id.type_name());
    entries.emplace_back(id.get<int64_t>(), token);
  }
  std::ranges::sort(entries);
  const int64_t limit = std::ssize(entries) + std::ssize(definition.added) + kMostHoles;
  TextMap<int32_t> ids;
  ids.reserve(entries.size() + definition.added.size());
  definition.tokens.reserve(entries.size());
  std::vector<std::string> ignored;
  const auto place = [&](const std::string& token, int64_t id) {
    if (place_token(token, id, limit, definition.tokens)) {
      ids.emplace(token, static_cast<int32_t>(id));
      return true;
    }
    ignored.push_back(formatted("'{}' ({})", token, id));
    return false;
  };
  for (const auto& [id, token] : entries) place(token, id);
  std::erase_if(definition.added, [&](AddedToken& token) {
    if (const auto known = ids.find(token.content); known != ids.end()) token.id = known->second;
    return !place(token.content, token.id);
  });
  if (!ignored.empty()) {
    warn("{}: tokens whose id is taken or out of range are ignored: {}", where, shortened(ignored));
  }
  return ids;
}

}  // namespace slice::detail
