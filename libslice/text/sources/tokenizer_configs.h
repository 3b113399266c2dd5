#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/word_encoder.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice::detail {

/// The JSON object in one of a directory's files, empty where there is none.
struct JsonFile {
  std::string where;  ///< its name, for messages
  nlohmann::json object;

  /// @throws FormatError  not JSON, or not an object
  JsonFile(const TokenizerTexts& texts, const std::string& text, const char* name);

  /// A member; null where it is missing.
  const nlohmann::json& member(const char* key) const;
  /// The token that a member names: "…", {"content": "…"} or null.
  std::optional<std::string> name(const char* key) const;
};

/// The two files that name tokens; what the first says counts.
struct TokenizerConfigs {
  JsonFile tokenizer, special;

  explicit TokenizerConfigs(const TokenizerTexts& texts)
      : tokenizer(texts, texts.configuration, "tokenizer_config.json"),
        special(texts, texts.special_tokens, "special_tokens_map.json") {}
};

/// The ids of a definition's tokens; of equal ones the first.
TextMap<int64_t> ids_by_token(const BpeDefinition& definition);

}  // namespace slice::detail
