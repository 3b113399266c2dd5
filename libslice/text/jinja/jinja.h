#pragma once

#include <map>
#include <string>
#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// What Jinja 3.1 writes for a template, in the environment that Transformers makes for chat
/// templates (sandboxed, trim_blocks, lstrip_blocks, break and continue). The part of the language
/// that such templates use; what is not supported is refused by name and never passed over. A
/// template is a stranger's: what it may take of time, memory and stack is bounded (jinja_meter.h).
///
/// @param source     the template.   @param name  where it came from, for messages.
/// @param variables  by name; not modified.
/// @throws FormatError  a template or a use of it that Jinja would refuse too, something that is
/// not supported, or a limit: names the template and the line.
std::string render(std::string_view source, const std::string& name,
                   const std::map<std::string, Value>& variables);

}  // namespace slice::detail::jinja
