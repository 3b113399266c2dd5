#pragma once

#include <string_view>

#include "libslice/text/detail/grammar_program.h"

namespace slice::detail {

/// The grammar of JSON texts that a schema describes (json_grammar.h says which schemas).
/// @throws FormatError  malformed, not supported (names the place and the keyword), without a finite
///                      value, or too large
GrammarProgram compile_schema(std::string_view schema);

}  // namespace slice::detail
