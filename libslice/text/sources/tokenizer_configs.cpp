#include "libslice/text/sources/tokenizer_configs.h"

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/python_json.h"

namespace slice::detail {

JsonFile::JsonFile(const TokenizerTexts& texts, const std::string& text, const char* name)
    : where(texts.directory + "/" + name),
      object(text.empty() ? nlohmann::json::object() : parse_python_json(text, where)) {
  SLICE_FORMAT_CHECK(object.is_object(), "{}: want an object, got {}", where, object.type_name());
}

const nlohmann::json& JsonFile::member(const char* key) const {
  static const nlohmann::json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

std::optional<std::string> JsonFile::name(const char* key) const {
  return member(key).is_object() ? find_field<std::string>(member(key), "content", where)
                                 : find_field<std::string>(object, key, where);
}

TextMap<int64_t> ids_by_token(const BpeDefinition& definition) {
  TextMap<int64_t> ids;
  ids.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty()) continue;
    ids.emplace(definition.tokens[id], static_cast<int64_t>(id));
  }
  return ids;
}

}  // namespace slice::detail
