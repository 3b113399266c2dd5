#pragma once

#include <map>
#include <string>
#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// The output of Jinja 3.1 for a template, in the environment that Transformers sets up for chat
/// templates (sandboxed, trim_blocks, lstrip_blocks, break and continue, generation). Refused by
/// name, never ignored: other files (include, import, extends), autoescape, `self`, lipsum, the
/// filters urlize and wordwrap, integers past 64 bits, and the values that Python prints with their
/// address. Templates are untrusted: their time, memory and stack are bounded (meter.h).
///
/// @param source     the template      @param name  its origin, for messages
/// @param variables  by name; not modified
/// @throws FormatError  an error in the template or in its use, an unsupported feature, a limit
///                      exceeded (names the template and the line)
std::string render(std::string_view source, const std::string& name,
                   const std::map<std::string, Value>& variables);

}  // namespace slice::detail::jinja
