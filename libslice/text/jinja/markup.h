#pragma once

#include <string>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// The printed value with & < > ' " as HTML entities; a Markup's text as it is.
std::string escaped(const Value& value, Meter& meter);

/// The same, of any printed value.
std::string escaped_text(const std::string& text, Meter& meter);

/// The text without tags and comments, its runs of white space as one space, and its entities as
/// characters. @throws Failure  an entity other than the usual five, &nbsp;, or a number
std::string without_tags(const std::string& text, Meter& meter);

/// A result with each text in it a Markup.
Value as_markup(const Value& value, Meter& meter);

}  // namespace slice::detail::jinja
