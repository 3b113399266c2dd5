#include "libslice/text/jinja/targets.h"

namespace slice::detail::jinja {
namespace {

bool at_target_end(const ExpressionParser& expressions) {
  return expressions.at_name("in") || expressions.at_operator("=") ||
         expressions.at_operator(")") || expressions.current().kind == Token::Kind::kBlockEnd;
}

Target parse_one_target(ExpressionParser& expressions, bool may_be_member) {
  if (expressions.skip_operator("(")) {
    const ExpressionParser::Nesting nesting(expressions);
    Target inner = parse_target(expressions, false);
    expressions.expect_operator(")");
    return inner;
  }
  Target target;
  target.name = expressions.expect(Token::Kind::kName, "a name").text;
  if (may_be_member && expressions.skip_operator(".")) {
    target.member = expressions.expect(Token::Kind::kName, "the name of an attribute").text;
  }
  return target;
}

}  // namespace

Target parse_target(ExpressionParser& expressions, bool may_be_member) {
  Target first = parse_one_target(expressions, may_be_member);
  if (!expressions.at_operator(",")) return first;
  Target target;
  target.unpacks = true;
  target.parts.push_back(std::move(first));
  while (expressions.skip_operator(",") && !at_target_end(expressions)) {
    target.parts.push_back(parse_one_target(expressions, may_be_member));
  }
  return target;
}

}  // namespace slice::detail::jinja
