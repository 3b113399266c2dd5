#pragma once

#include <string>

namespace slice::detail {

/// The files of a Hugging Face directory that define its tokenizer; absent ones are empty.
struct TokenizerTexts {
  std::string directory;       ///< for messages
  std::string tokenizer;       ///< tokenizer.json
  std::string sentencepiece;   ///< tokenizer.model
  std::string vocabulary;      ///< vocab.json
  std::string merges;          ///< merges.txt
  std::string added_tokens;    ///< added_tokens.json
  std::string configuration;   ///< tokenizer_config.json
  std::string special_tokens;  ///< special_tokens_map.json
  std::string chat_template;   ///< chat_template.jinja
  std::string generation;      ///< generation_config.json
  std::string model;           ///< config.json
};

}  // namespace slice::detail
