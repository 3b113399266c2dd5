#include "libslice/text/sources/vocabulary_json.h"

#include "libslice/base/detail/json.h"

namespace slice::detail {

TextMap<int32_t> read_vocabulary(const nlohmann::json& vocabulary, const std::string& where,
                                 BpeDefinition& definition) {
  SLICE_FORMAT_CHECK(vocabulary.is_object(), "{}: want an object, got {}", where,
                     vocabulary.type_name());
  size_t size = vocabulary.size();
  for (const AddedToken& token : definition.added) size += !vocabulary.contains(token.content);
  TextMap<int32_t> ids;
  ids.reserve(size);
  definition.tokens.resize(size);
  const auto place = [&](const std::string& token, int64_t id) {
    SLICE_FORMAT_CHECK(id >= 0 && id < static_cast<int64_t>(size),
                       "{}: token '{}' has id {}: want 0 <= id < {}, without holes", where, token,
                       id, size);
    std::string& taken = definition.tokens[id];
    SLICE_FORMAT_CHECK(taken.empty() || taken == token, "{}: id {} is both '{}' and '{}'", where,
                       id, taken, token);
    taken = token;
    const auto [first, added] = ids.emplace(token, static_cast<int32_t>(id));
    SLICE_FORMAT_CHECK(added || first->second == id, "{}: token '{}' is both {} and {}", where,
                       token, first->second, id);
  };
  for (const auto& [token, id] : vocabulary.items()) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: token '{}': want an integer id, got {}", where,
                       token, id.type_name());
    place(token, id.get<int64_t>());
  }
  for (const AddedToken& token : definition.added) place(token.content, token.id);
  return ids;
}

}  // namespace slice::detail
