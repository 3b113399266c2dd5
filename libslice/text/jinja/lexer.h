#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slice::detail::jinja {

struct Token {
  enum class Kind {
    kData,  ///< text between the delimiters
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,  ///< without its quotes and escapes
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind;
  std::string text;
  int line;
};

/// Cuts a template into tokens, without comments and the white space that delimiters and tags
/// remove. As Transformers sets Jinja up: trim_blocks, lstrip_blocks, no newline at the end.
/// @param name  of the template, for messages
/// @throws FormatError  not UTF-8, a delimiter or string without an end, an unbalanced bracket, a
///                      character that begins no token
std::vector<Token> tokenize_template(std::string_view source, const std::string& name);

}  // namespace slice::detail::jinja
