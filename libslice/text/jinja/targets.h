#pragma once

#include "libslice/text/jinja/expressions.h"
#include "libslice/text/jinja/tree.h"

namespace slice::detail::jinja {

/// What is assigned to: several between commas, of which each may be several in parentheses.
/// @param may_be_member  also a member of a namespace
Target parse_target(ExpressionParser& expressions, bool may_be_member);

}  // namespace slice::detail::jinja
