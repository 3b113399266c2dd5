#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slice::detail::jinja {

struct Token {
  enum class Kind {
    kData,  ///< text between the marks
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

/// Cuts a template into tokens; comments and the white space that marks and tags swallow are gone.
/// As Transformers sets Jinja up: trim_blocks, lstrip_blocks, no newline at the end.
/// @param name  of the template, for messages.
/// @throws FormatError  not UTF-8, a mark or string without an end, a bracket without a partner, a
/// character that begins nothing.
std::vector<Token> tokenize_template(std::string_view source, const std::string& name);

}  // namespace slice::detail::jinja
